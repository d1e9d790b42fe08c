import { expect, test } from "bun:test";
import { lease } from "../../test/kernel/contract.ts";
import type { LeaseKey } from "../lease/key.ts";
import { type Lease, refusal } from "../lease/lease.ts";
import type { LeaseSet } from "../lease/set.ts";
import type { KernelObject } from "../state/object.ts";
import { type BoundBackend, Planner } from "./planner.ts";

const NODE: KernelObject = { kind: "up", dev: "flannel.1" };

/** Each peer is one FDB entry, by the MAC and public IP of its lease. */
function backend(): BoundBackend & { readonly asked: LeaseKey[] } {
  const asked: LeaseKey[] = [];
  return {
    asked,
    node: [NODE],
    peer(peer) {
      asked.push(peer.key);
      if (peer.backendType !== "vxlan") return refusal("another backend");
      const { VtepMAC: mac } = peer.backendData.ipv4 as { VtepMAC: never };
      return [{ kind: "fdb", dev: "flannel.1", mac, dst: peer.publicIp.ipv4 as never }];
    },
  };
}

function sets(): (leases: readonly Lease[], changed: readonly Lease[]) => LeaseSet {
  let number = 0;
  return (leases, changed) => ({
    leases: new Map(leases.map((each) => [each.key, each])),
    refused: new Map(),
    changed: changed.map((each) => each.key),
    number: ++number,
    previous: number - 1,
  });
}

test("Planner asks the backend only for leases that changed", () => {
  const bound = backend();
  const planner = new Planner(bound);
  const next = sets();
  const [a, b, c] = [lease(2), lease(3), lease(4)];
  planner.update(next([a, b], []));
  expect(bound.asked.splice(0)).toEqual([a.key, b.key]);
  expect([...planner.update(next([a, b, c], [c]))]).toEqual(["fdb 02:00:00:00:00:04 dev flannel.1"] as never[]);
  expect(bound.asked.splice(0)).toEqual([c.key]);
  planner.update(next([a, c], [b]));
  expect(bound.asked).toEqual([]);
  expect(planner.desired.size).toBe(3);
});

test("Planner compares all when it missed a set", () => {
  const bound = backend();
  const planner = new Planner(bound);
  const next = sets();
  planner.update(next([lease(2), lease(3)], []));
  next([lease(2)], [lease(3)]); // never seen
  planner.update(next([lease(2), lease(4)], [lease(4)]));
  expect([...planner.desired.keys()].length).toBe(3);
});

test("Planner keeps what two leases share until both are gone", () => {
  const planner = new Planner(backend());
  const next = sets();
  const old = lease(2);
  const moved = { ...lease(9), publicIp: old.publicIp, backendData: old.backendData };
  planner.update(next([old, moved], []));
  expect(planner.desired.size).toBe(2);
  expect(planner.update(next([moved], [old])).size).toBe(0);
  expect(planner.update(next([], [moved])).size).toBe(1);
  expect(planner.desired.size).toBe(1);
});

test("Planner refuses the second of two leases with one MAC, and takes it when the first leaves", () => {
  const planner = new Planner(backend());
  const next = sets();
  const first = lease(2);
  const second = { ...lease(3), backendData: first.backendData };
  planner.update(next([first, second], []));
  expect(planner.refused.get(second.key)).toContain("which another lease already has otherwise");
  planner.update(next([second], [first]));
  expect(planner.refused.size).toBe(0);
  expect([...planner.desired.values()].at(-1)).toMatchObject({ dst: "192.168.77.3" });
});

test("Planner keeps a refusal of the backend with its reason, and forgets it with the lease", () => {
  const planner = new Planner(backend());
  const next = sets();
  const other = lease(2, { backendType: "host-gw" });
  planner.update(next([other], []));
  expect([...planner.refused.values()]).toEqual(["another backend"]);
  planner.update(next([], [other]));
  expect(planner.refused.size).toBe(0);
});
