// Leases that lie. Whoever can write to the store can write anything: what could harm this node or another peer is refused, said once, and does not
// keep the others waiting.

import { expect, test } from "bun:test";
import { becomes } from "./becomes.ts";
import { type Node, Underlay } from "./nodes.ts";
import { type PeerLease, type PeerStore, peerLease } from "./store.ts";

/** The node's own lease is a reservation of 10.5.1.0/24 with this MAC, so that there is something to aim at. */
const OWN_MAC = "02:00:00:00:00:01";
/** A second address of the node. */
const OWN_ADDRESS = "192.168.77.101";

const GOOD = peerLease(2);
const withMac = (VtepMAC: string) => ({ ...GOOD.value, PublicIP: "192.168.77.66", BackendData: { VNI: 1, VtepMAC } });
const FINE = withMac("02:00:00:00:66:66");

const HOSTILE: readonly [string, string, object | string, string][] = [
  ["bad JSON", "10.5.101.0-24", "{nope", "its value is not JSON"],
  ["JSON that is no object", "10.5.102.0-24", "[1]", "its value is not a JSON object"],
  ["a value that is far too long", "10.5.103.0-24", { ...FINE, Pad: "x".repeat(20_000) }, "want at most 16384"],
  ["a bad MAC", "10.5.104.0-24", withMac("02:zz"), 'want {"VtepMAC":"<MAC>"}'],
  ["a multicast MAC", "10.5.105.0-24", withMac("01:00:5e:00:00:01"), "its VtepMAC 01:00:5e:00:00:01 is no unicast MAC"],
  ["this node's MAC", "10.5.106.0-24", withMac(OWN_MAC), `its VtepMAC ${OWN_MAC} is this node's own`],
  [
    "another peer's MAC",
    "10.5.107.0-24",
    withMac(GOOD.value.BackendData.VtepMAC),
    "which another lease already has otherwise",
  ],
  ["a subnet outside the network", "10.6.1.0-24", FINE, "its subnet 10.6.1.0/24 is outside the network 10.5.0.0/16"],
  ["the whole network as its subnet", "10.5.0.0-16", FINE, "its subnet 10.5.0.0/16 overlaps"],
  [
    "a part of this node's subnet",
    "10.5.1.128-25",
    FINE,
    "its subnet 10.5.1.128/25 overlaps this node's own 10.5.1.0/24",
  ],
  ["a part of another's subnet", "10.5.2.0-25", FINE, "its subnet 10.5.2.0/25 overlaps the lease 10.5.2.0-24"],
  [
    "an address of this host",
    "10.5.108.0-24",
    { ...FINE, PublicIP: OWN_ADDRESS },
    `its public IP ${OWN_ADDRESS} is an address of this host`,
  ],
  ["loopback as its public IP", "10.5.109.0-24", { ...FINE, PublicIP: "127.0.0.1" }, "its public IP 127.0.0.1 is"],
  [
    "a multicast public IP",
    "10.5.110.0-24",
    { ...FINE, PublicIP: "224.0.0.1" },
    "its public IP 224.0.0.1 is not the address of a host",
  ],
  [
    "a public IP that is none",
    "10.5.111.0-24",
    { ...FINE, PublicIP: "host" },
    'PublicIP is "host", want an ipv4 address',
  ],
  [
    "another backend",
    "10.5.112.0-24",
    { ...FINE, BackendType: "host-gw" },
    'its BackendType is "host-gw", this node runs vxlan',
  ],
  ["a key that is no subnet", "10.5.113.0_24", FINE, "its key is not a subnet"],
];

async function prepare(node: Node, store: PeerStore): Promise<void> {
  node.run(`ip address add ${OWN_ADDRESS}/24 dev eth0`);
  const own = { ...FINE, PublicIP: node.address.ipv4, BackendData: { VNI: 1, VtepMAC: OWN_MAC } };
  await store.put("10.5.1.0-24", own);
  await store.put(GOOD.key, GOOD.value);
}

const routes = (node: Node) => node.objects().filter((line) => line.startsWith("route "));
const routesTo = (...peers: PeerLease[]) =>
  peers.map(({ key }) => `route ${key.replace("-", "/")} via ${key.replace("-24", "")} dev flannel.1 onlink`);

test("flanneld: each hostile lease is refused with its reason, once, and the others work", async () => {
  await using underlay = await Underlay.open({ nodes: 1, only: "embedded" });
  const [node, { store }] = [underlay.node(1), underlay];
  await prepare(node, store);
  for (const [, key, value] of HOSTILE.slice(0, 8)) await store.put(key, value);
  const flanneld = await node.flanneld().ready();
  for (const [, key, value] of HOSTILE.slice(8)) await store.put(key, value); // the rest while it runs
  await store.put(peerLease(3).key, peerLease(3).value);
  await becomes(() => routes(node), routesTo(GOOD, peerLease(3)));
  await becomes(() => [flanneld.status?.peers, flanneld.status?.refused], [2, HOSTILE.length]);
  for (const [title, key, , reason] of HOSTILE) {
    const said = flanneld.lines(/refusing/).filter((line) => line.includes(`the lease ${key}: `));
    expect([title, said]).toEqual([title, [expect.stringContaining(reason)]]);
  }
  expect(flanneld.lines(/^[WE]/)).toHaveLength(HOSTILE.length);
  expect(node.link()?.mac).toBe(OWN_MAC);

  const [, key = ""] = HOSTILE[0] ?? [];
  await store.put(key, withMac("02:00:00:00:77:77")); // it repents
  await becomes(() => routes(node), [...routesTo({ ...GOOD, key }), ...routesTo(GOOD, peerLease(3))].toSorted());
  await flanneld.says(/the lease 10.5.101.0-24 is refused no more/);
});

const WARM_UP = 300;
const REWRITES = 1_000;
/** What the garbage collector may leave standing, KiB; a leak of one value a time would be 20 MiB. */
const NOISE_KIB = 12 << 10;

test("flanneld: a hostile lease that is rewritten a thousand times costs no memory and no log", async () => {
  await using underlay = await Underlay.open({ nodes: 1, only: "embedded" });
  const [node, { store }] = [underlay.node(1), underlay];
  await prepare(node, store);
  const flanneld = await node.flanneld().ready();
  let count = 0;
  const rewrite = async (times: number) => {
    for (const end = count + times; count < end; count++) {
      await store.put("10.5.101.0-24", `${count} is no JSON ${"x".repeat(10_000)}`);
      await store.put("10.5.104.0-24", { ...withMac(`0z:${count}`), Pad: "x".repeat(10_000) });
      await Bun.sleep(1); // one by one, and not as a burst
    }
    const mark = { ...peerLease(9), value: { ...peerLease(9).value, PublicIP: `192.168.${count % 250}.9` } };
    await store.put(mark.key, mark.value);
    await becomes(() => node.objects().some((line) => line.endsWith(` dst ${mark.value.PublicIP}`)), true);
  };
  await rewrite(WARM_UP);
  const before = flanneld.rssKib;
  await rewrite(REWRITES);
  const grown = flanneld.rssKib - before;
  console.log(`resident memory after ${WARM_UP} rewrites: ${before} KiB; after ${REWRITES} more: ${grown} KiB more`);
  expect(grown).toBeLessThan(NOISE_KIB);
  await becomes(() => flanneld.lines(/refusing/).length, 2);
  expect(flanneld.lines(/^[WE]/)).toHaveLength(2);
});
