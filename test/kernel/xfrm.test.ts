// IPsec policies on the real kernel: made, repaired, taken over and removed; those of others are left alone.

import { afterEach, expect, test } from "bun:test";
import type { Address } from "../../src/ip/address.ts";
import type { Prefix } from "../../src/ip/prefix.ts";
import { type ReconcileEvent, Reconciler } from "../../src/kernel/reconciler.ts";
import { XfrmDriver } from "../../src/kernel/xfrm.ts";
import type { XfrmPolicy } from "../../src/state/backend_object.ts";
import { keyOf } from "../../src/state/object.ts";
import { printOperation } from "../../src/state/print.ts";
import { until } from "../e2e/program.ts";
import { Namespace } from "./linux_world.ts";

const NETWORKS = { ipv4: "10.5.0.0/16" as Prefix };
const [OWN, HERE] = ["10.5.1.0/24" as Prefix, "192.0.2.1" as Address];

/** The policies of peer n. */
function peer(n: number, address = `192.0.2.${n}`): XfrmPolicy[] {
  const [subnet, there] = [`10.5.${n}.0/24` as Prefix, address as Address];
  const back = { kind: "xfrmpolicy", src: subnet, dst: OWN, tunnel: { src: there, dst: HERE }, reqid: 11 } as const;
  return [
    { kind: "xfrmpolicy", direction: "out", src: OWN, dst: subnet, tunnel: { src: HERE, dst: there }, reqid: 11 },
    { direction: "in", ...back },
    { direction: "fwd", ...back },
  ];
}

class World implements Disposable {
  readonly namespace = new Namespace();
  readonly events: ReconcileEvent[] = [];
  readonly #stop = new AbortController();
  readonly #driver = new XfrmDriver({ networks: NETWORKS, namespace: this.namespace.path });
  readonly reconciler = new Reconciler([this.#driver], { report: (event) => void this.events.push(event) });

  constructor() {
    void this.reconciler.run(this.#stop.signal);
  }

  async bring(policies: readonly XfrmPolicy[]): Promise<void> {
    this.reconciler.desire(new Map(policies.map((policy) => [keyOf(policy), policy])), "all", true);
    await this.reconciler.settled();
    expect(this.policies()).toEqual(lines(policies));
  }

  /** Without the first lines of those of others. */
  policies(network = "10.5."): string[] {
    const text = this.namespace.run("ip xfrm policy list");
    const entries = text.split(/\n(?=src )/).filter((entry) => entry.startsWith(`src ${network}`));
    return entries.map((entry) => entry.replace(/\s+/g, " ").trim()).sort();
  }

  [Symbol.dispose](): void {
    this.#stop.abort();
    this.#driver[Symbol.dispose]();
    this.namespace[Symbol.dispose]();
  }
}

/** As `ip xfrm policy` prints them. */
function lines(policies: readonly XfrmPolicy[]): string[] {
  return policies
    .map(
      ({ direction, src, dst, tunnel, reqid }) =>
        `src ${src} dst ${dst} dir ${direction} priority 0 ptype main tmpl src ${tunnel.src} dst ${tunnel.dst} proto esp reqid ${reqid} mode tunnel`,
    )
    .sort();
}

let worlds: World[] = [];
afterEach(() => {
  for (const world of worlds) world[Symbol.dispose]();
  worlds = [];
});

function open(): World {
  const world = new World();
  worlds.push(world);
  return world;
}

test("policies are made, changed and removed", async () => {
  const world = open();
  await world.bring([...peer(2), ...peer(3)]);
  await world.bring([...peer(2, "192.0.2.22"), ...peer(3)]);
  await world.bring(peer(3));
  await world.bring([]);
  expect(world.events).toEqual([]);
});

const all = [...peer(2), ...peer(3)];

test.each<[string, string]>([
  ["one deleted", "ip xfrm policy delete src 10.5.1.0/24 dst 10.5.2.0/24 dir out"],
  ["all deleted", "ip xfrm policy deleteall"],
  ["all flushed", "ip xfrm policy flush"],
  [
    "another tunnel",
    "ip xfrm policy update src 10.5.2.0/24 dst 10.5.1.0/24 dir fwd tmpl src 192.0.2.9 dst 192.0.2.1 proto esp reqid 11 mode tunnel",
  ],
  [
    "another reqid",
    "ip xfrm policy update src 10.5.2.0/24 dst 10.5.1.0/24 dir in tmpl src 192.0.2.2 dst 192.0.2.1 proto esp reqid 9 mode tunnel",
  ],
  ["one that blocks in its place", "ip xfrm policy update src 10.5.1.0/24 dst 10.5.3.0/24 dir out action block"],
  ["one that lets through in its place", "ip xfrm policy update src 10.5.1.0/24 dst 10.5.3.0/24 dir out"],
])("%s: repaired", async (_, damage) => {
  const world = open();
  await world.bring(all);
  world.namespace.run(damage);
  await until("the repair", () => Bun.deepEquals(world.policies(), lines(all)));
  await until("its report", () => world.events.some(({ kind }) => kind === "repaired"));
});

test("policies of others stay, and those of an earlier run go", async () => {
  const world = open();
  const strange = `
    ip xfrm policy add src 10.5.9.0/24 dst 10.5.1.0/24 dir in tmpl src 192.0.2.9 dst 192.0.2.1 proto esp reqid 5 mode tunnel
    ip xfrm policy add src 10.6.1.0/24 dst 10.6.2.0/24 dir out tmpl src 192.0.2.1 dst 192.0.2.2 proto esp reqid 11 mode tunnel
    ip xfrm policy add src 10.5.1.0/24 dst 10.6.2.0/24 dir out tmpl src 192.0.2.1 dst 192.0.2.2 proto esp reqid 11 mode tunnel
    ip xfrm policy add src 10.5.8.0/24 dst 10.5.1.0/24 proto udp dir in tmpl src 192.0.2.8 dst 192.0.2.1 proto esp reqid 11 mode tunnel`;
  const mine = all.map((object) => printOperation({ verb: "add", object }));
  world.namespace.run(strange);
  const before = world.policies("10.");
  world.namespace.run(mine.join("\n"));
  expect(world.policies("10.").length).toBe(before.length + mine.length);
  world.reconciler.desire(new Map(), "all", false);
  await world.reconciler.settled();
  expect(world.policies("10.").length).toBe(before.length + mine.length);
  world.reconciler.desire(new Map(), "all", true);
  await until("the removal", () => Bun.deepEquals(world.policies("10."), before));
});
