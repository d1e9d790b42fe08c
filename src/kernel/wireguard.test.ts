import { describe, expect, test } from "bun:test";
import { wireguard } from "../backend/wireguard.ts";
import type { Address } from "../ip/address.ts";
import type { Prefix } from "../ip/prefix.ts";
import type { Answer } from "../netlink/error.ts";
import type { WireguardDeviceMessage, WireguardPeerMessage } from "../netlink/wireguard.ts";
import type { WireguardDevice, WireguardPeer } from "../state/backend_object.ts";
import { type KernelObject, keyOf } from "../state/object.ts";
import { diff, inOrder } from "../state/operation.ts";
import { EADDRINUSE, ENODEV } from "../sys/error.ts";
import { type Outcome, Overtaken } from "./driver.ts";
import { type WireguardAccess, type WireguardChange, WireguardDriver } from "./wireguard.ts";

const DEV = "flannel-wg";
const FILE = "/run/flannel/wgkey";
const NOW = 1_800_000_000_000;
const [A, B, OWN, PRIVATE] = ["A", "B", "own", "private"];

const DEVICE: WireguardDevice = {
  kind: "wgdevice",
  dev: DEV,
  publicKey: OWN,
  privateKeyFile: FILE,
  listenPort: 51820,
};
const endpoint = (n: number) => ({ address: `192.168.77.${n}` as Address, port: 51820 });

function peer(publicKey: string, changes: Partial<WireguardPeer> = {}): WireguardPeer {
  return {
    kind: "wgpeer",
    dev: DEV,
    publicKey,
    endpoint: endpoint(2),
    keepaliveSeconds: 0,
    presharedKey: undefined,
    ...changes,
  };
}

const allowed = (n: number, publicKey: string): KernelObject => ({
  kind: "wgallowed",
  dev: DEV,
  prefix: `10.5.${n}.0/24` as Prefix,
  publicKey,
});

type MutableDevice = { -readonly [K in keyof WireguardDeviceMessage]: WireguardDeviceMessage[K] };

/** One device as the kernel keeps it. */
class FakeAccess implements WireguardAccess {
  device: MutableDevice | undefined = {
    publicKey: undefined,
    privateKey: undefined,
    listenPort: 0,
    peers: [],
  };
  file: string | undefined = OWN;
  answer: Answer | undefined;
  readonly changes: WireguardChange[] = [];

  read(dev: string): WireguardDeviceMessage | undefined {
    return dev === DEV ? this.device : undefined;
  }

  change(changes: readonly WireguardChange[]): readonly (Answer | undefined)[] {
    this.changes.push(...changes);
    return changes.map((change) => {
      if (!this.answer) this.#apply(change);
      return this.answer;
    });
  }

  #apply(change: WireguardChange): void {
    const { device } = this;
    if (!device) return;
    switch (change.kind) {
      case "device":
        device.publicKey = change.privateKey && OWN;
        device.privateKey = change.privateKey;
        device.listenPort = change.listenPort;
        break;
      case "remove":
        device.peers = device.peers.filter(({ publicKey }) => publicKey !== change.publicKey);
        break;
      case "peer": {
        const { allowedIps = [], replace, onlyExisting, ...fields } = change.peer;
        const before = device.peers.find(({ publicKey }) => publicKey === fields.publicKey);
        if (!before && onlyExisting) return;
        const kept = replace ? [] : (before?.allowedIps ?? []);
        const others = device.peers
          .filter((each) => each !== before)
          .map((each) => ({ ...each, allowedIps: each.allowedIps.filter((prefix) => !allowedIps.includes(prefix)) }));
        const after: WireguardPeerMessage = {
          presharedKey: undefined,
          endpoint: undefined,
          keepaliveSeconds: 0,
          lastHandshakeMs: 0,
          ...before,
          ...fields,
          allowedIps: [...new Set([...kept, ...allowedIps])],
        };
        device.peers = [...others, after];
      }
    }
  }

  /** What happens to a peer without us. */
  set(publicKey: string, changes: Partial<WireguardPeerMessage>): void {
    if (!this.device) return;
    this.device.peers = this.device.peers.map((each) =>
      each.publicKey === publicKey ? { ...each, ...changes } : each,
    );
  }

  privateKey() {
    if (this.file === undefined) throw new Error("ENOENT");
    return { privateKey: PRIVATE, publicKey: this.file };
  }

  now(): number {
    return NOW;
  }

  [Symbol.dispose](): void {}
}

/** Brings the fake to `desired` as the reconciler does; returns what was done, and what failed. */
async function reconcile(driver: WireguardDriver, desired: readonly KernelObject[]) {
  await driver.refresh();
  const operations = inOrder(diff(new Map(desired.map((object) => [keyOf(object), object])), driver.mirror.all));
  const failures: Outcome[] = [];
  for (const kind of new Set(operations.map(({ verb, object }) => `${verb === "delete"} ${object.kind}`))) {
    const batch = operations.filter(({ verb, object }) => `${verb === "delete"} ${object.kind}` === kind);
    failures.push(...(await driver.apply(batch)).filter((outcome) => outcome !== undefined));
  }
  return { done: operations.map(({ verb, key }) => `${verb} ${key}`), failures };
}

function setUp() {
  const access = new FakeAccess();
  const open = () =>
    new WireguardDriver(access, {
      links: new Set([DEV, "flannel-wg-v6"]),
      privateKeyFile: FILE,
      periodMs: 3_600_000,
    });
  /** Another look, as the timer has it. */
  const again = async (driver: WireguardDriver, desired: readonly KernelObject[]) => {
    driver[Symbol.dispose]();
    return reconcile(open(), desired);
  };
  return { access, open, again };
}

const TWO = [DEVICE, peer(A), allowed(2, A), peer(B, { endpoint: endpoint(3) }), allowed(3, B)];

describe("WireguardDriver", () => {
  test("makes what is wanted, and finds nothing to do when it looks again", async () => {
    const { access, open, again } = setUp();
    using driver = open();
    const { done, failures } = await reconcile(driver, TWO);
    expect(failures).toEqual([]);
    expect(done).toEqual(TWO.toSorted(byKind).map((object) => `add ${keyOf(object)}`));
    expect(access.device).toMatchObject({ publicKey: OWN, privateKey: PRIVATE, listenPort: 51820 });
    expect(await again(driver, TWO)).toEqual({ done: [], failures: [] });
  });

  test("removes peers that nobody wants, with their prefixes", async () => {
    const { access, open, again } = setUp();
    using driver = open();
    await reconcile(driver, TWO);
    await again(driver, TWO.slice(0, 3));
    expect(access.device?.peers.map(({ publicKey }) => publicKey)).toEqual([A]);
  });

  test("takes one prefix from a peer and leaves it the others", async () => {
    const { access, open, again } = setUp();
    using driver = open();
    await reconcile(driver, [...TWO, allowed(4, A), allowed(5, A)]);
    await again(driver, [...TWO, allowed(5, A)]);
    expect(prefixes(access, A)).toEqual(["10.5.2.0/24", "10.5.5.0/24"]);
    expect(prefixes(access, B)).toEqual(["10.5.3.0/24"]);
  });

  test("moves a prefix to the new key of a node, and removes the old one", async () => {
    const { access, open } = setUp();
    using driver = open();
    await reconcile(driver, [DEVICE, peer(A), allowed(2, A)]);
    const { failures } = await reconcile(driver, [DEVICE, peer(B), allowed(2, B)]);
    expect(failures).toEqual([]);
    expect(access.device?.peers.map(({ publicKey, allowedIps }) => [publicKey, ...allowedIps] as string[])).toEqual([
      [B, "10.5.2.0/24"],
    ]);
  });

  test("a link that went took everything with it", async () => {
    const { access, open } = setUp();
    using driver = open();
    await reconcile(driver, TWO);
    access.device = { publicKey: undefined, privateKey: undefined, listenPort: 0, peers: [] };
    driver.linkGone(DEV);
    expect((await reconcile(driver, TWO)).done).toHaveLength(TWO.length);
    expect(access.device.publicKey).toBe(OWN);
  });
});

describe("the private key", () => {
  test("is set from what a device had when its file is lost meanwhile", async () => {
    const { access, open } = setUp();
    access.device = { publicKey: OWN, privateKey: PRIVATE, listenPort: 51820, peers: [] };
    access.file = undefined;
    using driver = open();
    await driver.refresh();
    driver.linkGone(DEV);
    const { failures } = await reconcile(driver, [DEVICE]);
    expect(failures).toEqual([]);
  });

  test.each([
    [
      "another",
      `cannot set the key of flannel-wg: ${FILE} holds another than when flanneld started; start flanneld again`,
    ],
    [undefined, `cannot read ${FILE}: ENOENT`],
  ])("is never another than the lease tells: the file has %s", async (file, message) => {
    const { access, open } = setUp();
    access.file = file;
    using driver = open();
    const { failures } = await reconcile(driver, [DEVICE]);
    expect(failures.map((failure) => failure?.message)).toEqual([message]);
    expect(access.changes).toEqual([]);
  });
});

describe("a peer's endpoint", () => {
  const roamed = { address: "198.51.100.9" as Address, port: 40_000 };
  const inSession = { endpoint: roamed, lastHandshakeMs: NOW - 60_000 };
  const WANTED = [DEVICE, peer(A), allowed(2, A)];

  async function standing() {
    const parts = setUp();
    const driver = parts.open();
    await reconcile(driver, WANTED);
    return { ...parts, driver };
  }

  test("is let alone where the peer has moved, while a session lives", async () => {
    const { access, driver } = await standing();
    access.set(A, inSession);
    driver.look();
    expect((await reconcile(driver, WANTED)).done).toEqual([]);
    expect(access.device?.peers[0]?.endpoint).toEqual(roamed);
    driver[Symbol.dispose]();
  });

  test("is the lease's when flanneld starts: the lease may have changed meanwhile", async () => {
    const { access, driver, again } = await standing();
    access.set(A, inSession);
    await again(driver, WANTED);
    expect(access.device?.peers[0]?.endpoint).toEqual(endpoint(2));
  });

  test("is let alone by a flanneld that found it as the lease says, and then the peer moved", async () => {
    const { access, driver, open } = await standing();
    driver[Symbol.dispose]();
    using next = open();
    expect((await reconcile(next, WANTED)).done).toEqual([]);
    access.set(A, inSession);
    next.look();
    expect((await reconcile(next, WANTED)).done).toEqual([]);
    expect(access.device?.peers[0]?.endpoint).toEqual(roamed);
  });

  test("is the lease's again when the session is over", async () => {
    const { access, driver } = await standing();
    access.set(A, { endpoint: roamed, lastHandshakeMs: NOW - 200_000 });
    driver.look();
    await reconcile(driver, WANTED);
    expect(access.device?.peers[0]?.endpoint).toEqual(endpoint(2));
    driver[Symbol.dispose]();
  });

  test("is another as soon as the lease says another, session or not", async () => {
    const { access, driver } = await standing();
    access.set(A, inSession);
    driver.look();
    await reconcile(driver, [DEVICE, peer(A, { endpoint: endpoint(9) }), allowed(2, A)]);
    expect(access.device?.peers[0]?.endpoint).toEqual(endpoint(9));
    driver[Symbol.dispose]();
  });
});

describe("refusals", () => {
  const answer = (errno: number) => ({ errno, kernelMessage: undefined, offset: undefined });

  test("a port that is taken is told with what to do", async () => {
    const { access, open } = setUp();
    access.answer = answer(EADDRINUSE);
    using driver = open();
    const { failures } = await reconcile(driver, [DEVICE]);
    expect(failures[0]?.message).toBe(
      "cannot add wireguard key and port 51820 dev flannel-wg: EADDRINUSE (Address already in use); another program has UDP port 51820: " +
        "see ss -lunp, or set Backend.ListenPort or Backend.ListenPortV6",
    );
  });

  test("a device that went meanwhile is no failure, and what was to go from it is gone", async () => {
    const { access, open } = setUp();
    using driver = open();
    await reconcile(driver, TWO);
    access.answer = answer(ENODEV);
    const added = await reconcile(driver, [...TWO, allowed(7, A)]);
    expect(added.failures[0]).toBeInstanceOf(Overtaken);
    expect((await reconcile(driver, [])).failures).toEqual([]);
  });
});

test("the driver's kinds are the backend's", () => {
  const { open } = setUp();
  using driver = open();
  expect(driver.kinds as readonly string[]).toEqual(wireguard.kinds ?? []);
});

function prefixes(access: FakeAccess, publicKey: string): readonly string[] | undefined {
  return access.device?.peers.find((each) => each.publicKey === publicKey)?.allowedIps.toSorted();
}

function byKind(a: KernelObject, b: KernelObject): number {
  const kinds = ["wgdevice", "wgpeer", "wgallowed"];
  return kinds.indexOf(a.kind) - kinds.indexOf(b.kind);
}
