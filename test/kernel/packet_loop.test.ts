// The packet loop against rubbish: datagrams and device frames that are no packets, or almost are, in large numbers. It must count each, lose none of its mind and none of
// our memory, and still move what is good.

import { afterEach, beforeEach, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { PacketLoopDriver } from "../../src/kernel/packet_loop.ts";
import { makeTunLink } from "../../src/kernel/tun_link.ts";
import type { LoopPeer, PacketLoop } from "../../src/state/backend_object.ts";
import { type KernelObject, keyOf } from "../../src/state/object.ts";
import { EAGAIN, EINVAL, EMSGSIZE, ENOBUFS, SysError } from "../../src/sys/error.ts";
import { bind, close, SOCK_DGRAM, SOCK_RAW, send, sendto, setsockopt, socket } from "../../src/sys/libc.ts";
import { inNamespace } from "../../src/sys/netns.ts";
import { becomes } from "../e2e/becomes.ts";
import { dotted, parseCounters } from "../e2e/udp.ts";
import {
  ipv4Packet,
  randomBytes,
  randomNumbers,
  tcpPacket,
  udpPacket,
  vnetHeader,
  word,
} from "../fixtures/packets/packets.ts";
import { Namespace } from "./linux_world.ts";
import { setHeaderLength } from "./tun_header.ts";

const AF_INET = 2;
const AF_PACKET = 17;
const SOL_PACKET = 263;
const PACKET_VNET_HDR = 15;
const PACKET_QDISC_BYPASS = 20;
const ETH_P_IP = 0x0800;
const MTU = 1472;
const COUNT = 1_000_000;
const TEST_MS = 180_000;
/** In rounds, so that what a leak adds is told from what garbage collection leaves for a while: a leak adds to every round. */
const ROUNDS = 5;
/** 21 bytes for each packet of a round. */
const GROWTH_BYTES = 4 << 20;

const LOOP = {
  kind: "packetloop",
  dev: "flannel0",
  local: "127.0.0.1",
  port: 8285,
  network: "10.5.0.0/16",
  subnet: "10.5.1.0/24",
  mtu: MTU,
  strict: false,
} as unknown as PacketLoop;
/** Nobody listens there. */
const PEER = { kind: "looppeer", dev: "flannel0", subnet: "10.5.2.0/24", endpoint: { address: "127.0.0.1", port: 9 } };

let namespace: Namespace;
let driver: PacketLoopDriver;
let deaths: string[];

beforeEach(async () => {
  namespace = new Namespace();
  deaths = [];
  namespace.run("ip link set lo up");
  expect(makeTunLink("flannel0", namespace.path)).toBeUndefined();
  namespace.run(`
    sysctl -qw net.ipv6.conf.flannel0.disable_ipv6=1
    ip link set flannel0 mtu ${MTU} up
    ip address add 10.5.1.0/32 dev flannel0
    ip route add 10.5.0.0/16 dev flannel0`);
  driver = new PacketLoopDriver({ namespace: namespace.path, onDeath: (text) => deaths.push(text) });
  expect(await driver.apply([add(LOOP)])).toEqual([undefined]);
  expect(await driver.apply([add(PEER as unknown as LoopPeer)])).toEqual([undefined]);
});

afterEach(() => {
  driver[Symbol.dispose]();
  namespace[Symbol.dispose]();
});

function add(object: KernelObject) {
  return { verb: "add", key: keyOf(object), object } as const;
}

const now = () => parseCounters(driver.details[0] ?? "");

/** All packets that were seen from one side, whatever became of them; ICMP errors to nobody in particular come back to the device. */
function seen(from: "peers" | "the device"): number {
  const names =
    from === "peers"
      ? ["received packets", "destination outside the network"]
      : ["sent packets", "no peer has the destination", "send failed"];
  return Object.entries(now())
    .filter(([name]) => names.includes(name) || name.startsWith(`from ${from}: `))
    .reduce((sum, [, value]) => sum + value, from === "peers" ? 0 : -(now()["ICMP errors"] ?? 0));
}

/** Good packets, packets with a few bytes changed, cut off or with something behind, and noise. */
function rubbish(seed: number, count: number): Uint8Array[] {
  const random = randomNumbers(seed);
  const below = (limit: number) => Math.floor(random() * limit);
  return Array.from({ length: count }, () => {
    if (below(8) === 0) return randomBytes(random, below(200));
    const payload = randomBytes(random, below(1200));
    const [source, destination] = [`10.5.${below(4)}.${1 + below(255)}`, `10.5.${below(4)}.${below(256)}`].map(dotted);
    const options = below(6) === 0 ? Array.from({ length: 4 * below(11) }, () => below(256)) : [];
    const packet = {
      source: source ?? [],
      destination: destination ?? [],
      options,
      payload,
      ttl: below(4) + below(64),
    };
    const kinds = [
      () => tcpPacket({ ...packet, sequence: below(2 ** 32), flags: below(256) }),
      () => udpPacket(packet),
      () => ipv4Packet({ ...packet, protocol: below(256), fragment: below(65_536), body: payload }),
    ];
    const bytes = kinds[below(kinds.length)]?.() ?? payload;
    for (let n = below(4); n > 0; n--) bytes[below(Math.min(bytes.length, 60))] = below(256);
    const cut = below(3) === 0 ? bytes.subarray(0, below(bytes.length + 1)) : bytes;
    return below(10) === 0 ? Uint8Array.from([...cut, ...randomBytes(random, below(100))]) : cut;
  });
}

/** Half of the packets that are on the way at most: a TUN device's queue holds 500. */
const AHEAD = 200;

/** Sends `count` of `pool` in turn, no faster than they are seen; how many were taken. */
async function pour(
  pool: readonly Uint8Array[],
  count: number,
  put: (bytes: Uint8Array) => boolean,
  seenSoFar: () => number = () => Number.POSITIVE_INFINITY,
): Promise<number> {
  const before = seenSoFar();
  let taken = 0;
  for (let n = 0; n < count; n++) {
    if (put(pool[n % pool.length] ?? new Uint8Array(0))) taken++;
    if (n % AHEAD !== 0) continue;
    for (const end = performance.now() + 20_000; seenSoFar() < before + taken - AHEAD; await Bun.sleep(0))
      if (performance.now() > end) throw new Error(`${taken} packets were taken, ${seenSoFar() - before} seen`);
  }
  return taken;
}

/** A million of `pool`, each seen, without a leak; how many were taken. */
async function inRounds(
  pool: readonly Uint8Array[],
  put: (bytes: Uint8Array) => boolean,
  look: () => number,
): Promise<number> {
  let sent = 0;
  let before = Number.POSITIVE_INFINITY;
  const growths: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    sent += await pour(pool, COUNT / ROUNDS, put, look);
    await becomes(look, sent);
    const now = process.memoryUsage.rss();
    growths.push(now - before);
    before = now;
  }
  expect(Math.min(...growths.slice(1))).toBeLessThan(GROWTH_BYTES); // the first round warms up
  return sent;
}

/** Whether the kernel took it. */
function taken(act: () => void): boolean {
  try {
    act();
    return true;
  } catch (error) {
    if (error instanceof SysError && [EINVAL, EMSGSIZE, ENOBUFS, EAGAIN].includes(error.errno)) return false;
    throw error;
  }
}

test(
  "a million datagrams of rubbish: each is counted, nothing grows, and the loop lives",
  async () => {
    const fd = inNamespace(namespace.path, () => socket(AF_INET, SOCK_DGRAM, 0, "udp"));
    const to = Uint8Array.from([AF_INET, 0, 8285 >> 8, 8285 & 0xff, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    try {
      const put = (bytes: Uint8Array) => taken(() => sendto(fd, bytes, 0, to, "udp"));
      const pool = rubbish(1, 4_001);
      const look = () => seen("peers");
      expect(await inRounds(pool, put, look)).toBe(COUNT);
      const kinds = Object.keys(now()).filter((name) => name.startsWith("from peers: "));
      expect(kinds.sort()).toEqual([
        "from peers: TTL used up",
        "from peers: not IPv4",
        "from peers: too short",
        "from peers: wrong header checksum",
        "from peers: wrong header length",
        "from peers: wrong total length",
      ]);
      expect(deaths).toEqual([]);
    } finally {
      close(fd);
    }
  },
  TEST_MS,
);

/** A packet socket on the device: what is sent goes to its reader as it is. */
function deviceSocket(withHeader: boolean): number {
  const index = Number(namespace.run("cat /sys/class/net/flannel0/ifindex"));
  return inNamespace(namespace.path, () => {
    const fd = socket(AF_PACKET, SOCK_RAW, 0, "packet");
    // A full queue is then an error of the sender's.
    setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, 1, "packet");
    if (withHeader) setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, 1, "packet");
    // struct sockaddr_ll: 0 u16 family   2 u16 protocol, in network order   4 i32 interface   8 … 20
    const address = new DataView(new ArrayBuffer(20));
    address.setUint16(0, AF_PACKET, true);
    address.setUint16(2, ETH_P_IP);
    address.setInt32(4, index, true);
    bind(fd, new Uint8Array(address.buffer), "packet");
    return fd;
  });
}

test(
  "a million frames of rubbish from the device: each is counted, nothing grows, and the loop lives",
  async () => {
    const fd = deviceSocket(false);
    try {
      const put = (bytes: Uint8Array) => taken(() => send(fd, bytes, 0, "packet"));
      const pool = rubbish(2, 4_001).filter((bytes) => bytes.length > 0);
      const look = () => seen("the device");
      expect(await inRounds(pool, put, look)).toBeGreaterThan(COUNT / 2);
      expect(deaths).toEqual([]);
    } finally {
      close(fd);
    }
  },
  TEST_MS,
);

test(
  "large frames with wrong virtio headers do no harm, and good ones are cut",
  async () => {
    const fd = deviceSocket(true);
    try {
      const random = randomNumbers(3);
      const below = (limit: number) => Math.floor(random() * limit);
      const pool = rubbish(3, 2_000).map((bytes) =>
        Uint8Array.from([
          ...vnetHeader(below(2), [0, 1, 1, 4, 5, 5, 0x81][below(7)], below(80), below(2_000), below(60), below(20)),
          ...bytes,
        ]),
      );
      await pour(pool, 50_000, (bytes) => taken(() => send(fd, bytes, 0, "packet")));
      await Bun.sleep(300);
      const before = now()["sent packets"] ?? 0;
      const large = tcpPacket({
        source: dotted("10.5.1.2"),
        destination: dotted("10.5.2.3"),
        payload: new Uint8Array(10_000),
      });
      send(fd, Uint8Array.from([...vnetHeader(1, 1, 52, 1_000, 20, 16), ...large]), 0, "packet");
      await becomes(() => now()["sent packets"], before + 10);
      expect(deaths).toEqual([]);
    } finally {
      close(fd);
    }
  },
  TEST_MS,
);

test("a device that is deleted ends the loop, which is then no longer there; a loop needs a device", async () => {
  namespace.run("ip link delete flannel0");
  await becomes(() => [deaths.length, driver.mirror.get(keyOf(LOOP))], [1, undefined]);
  expect(deaths[0]).toContain("packet loop dev flannel0 udp 127.0.0.1:8285 ended: EBADFD");
  const [outcome] = await driver.apply([add(LOOP)]);
  expect(outcome?.message).toContain("ENODEV");
  expect(namespace.run("ip -o link show | grep -c flannel0 || true").trim()).toBe("0");
  expect(makeTunLink("flannel0", namespace.path)).toBeUndefined();
  expect(await driver.apply([add(LOOP)])).toEqual([undefined]);
});

test("a device keeps the length of headers that another program told it, and is told ours", async () => {
  expect(await driver.apply([{ verb: "delete", key: keyOf(LOOP), object: LOOP }])).toEqual([undefined]);
  setHeaderLength(namespace.path, "flannel0", 12);
  expect(await driver.apply([add(LOOP)])).toEqual([undefined]);
  const fd = deviceSocket(false);
  try {
    const good = { source: dotted("10.5.1.2"), destination: dotted("10.5.2.3"), payload: new Uint8Array(100) };
    send(fd, tcpPacket(good), 0, "packet");
    await becomes(() => [now()["sent packets"], now()["from the device: not IPv4"]], [1, undefined]);
  } finally {
    close(fd);
  }
});

test("a port or device that somebody has is an error that says so", async () => {
  using second = new PacketLoopDriver({ namespace: namespace.path });
  const [busy] = await second.apply([add(LOOP)]);
  expect(busy?.message).toContain("another program has flannel0 open");
  expect(await driver.apply([{ verb: "delete", key: keyOf(LOOP), object: LOOP }])).toEqual([undefined]);
  const fd = inNamespace(namespace.path, () => {
    const taker = socket(AF_INET, SOCK_DGRAM, 0, "udp");
    bind(taker, Uint8Array.from([AF_INET, 0, ...word(8285), 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]), "udp");
    return taker;
  });
  const [used] = await driver.apply([add(LOOP)]);
  expect(used?.message).toContain("another program has UDP port 8285: see ss -lunp, or set Backend.Port");
  close(fd);
  expect(await driver.apply([add(LOOP)])).toEqual([undefined]);
});

test.each([
  ["in code that never ends", "10.5.66.0/24"],
  ["in a call that does not return", "10.5.77.0/24"],
])(
  "a loop that hangs %s is noticed, told once, ended and started again with all its peers; one that has nothing to do is not",
  async (_title, subnet) => {
    driver[Symbol.dispose]();
    const hangs: string[] = [];
    const stuck: string[] = [];
    using watched = new PacketLoopDriver({
      namespace: namespace.path,
      worker: new URL("hanging_worker.ts", import.meta.url).href,
      hangsAfterMs: 1_000,
      onDeath: (text) => deaths.push(text),
      onHang: (text) => hangs.push(text),
      onStuck: (text) => stuck.push(text),
    });
    let woken = 0;
    watched.watch(() => woken++);
    await becomes(() => watched.apply([add(LOOP)]), [undefined]); // once the other loop has let go of the device
    await watched.apply([add(PEER as unknown as LoopPeer)]);
    await Bun.sleep(3_000);
    expect([hangs, woken]).toEqual([[], 0]);

    const threads = () => readdirSync("/proc/self/task");
    const before = threads();
    await watched.apply([add({ ...PEER, subnet } as unknown as LoopPeer)]);
    await becomes(() => [hangs.length, woken, watched.mirror.get(keyOf(LOOP))], [1, 1, undefined]);
    expect(hangs[0]).toBe(
      "packet loop dev flannel0 udp 127.0.0.1:8285 hangs: it has not moved for 1 s; ending it and starting it again",
    );
    expect(await watched.apply([add(LOOP)])).toEqual([undefined]);
    expect(watched.mirror.get(keyOf(LOOP))?.object).toEqual(LOOP);
    const fd = deviceSocket(false);
    try {
      for (const to of ["10.5.2.9", subnet.replace(/0\/24$/, "9")]) {
        send(fd, udpPacket({ source: dotted("10.5.1.2"), destination: dotted(to), payload: new Uint8Array(9) }), 0, "");
      }
      await becomes(() => parseCounters(watched.details[0] ?? "")["sent packets"], 2);
    } finally {
      close(fd);
    }
    expect([hangs.length, stuck, deaths, threads().length <= before.length + 1]).toEqual([1, [], [], true]);
  },
);
