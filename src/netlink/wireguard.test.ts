import { describe, expect, test } from "bun:test";
import { captured, expectSameRequest, readExchanges } from "../../test/fixtures/netlink/captured.ts";
import type { Address } from "../ip/address.ts";
import { makePrefix, type Prefix } from "../ip/prefix.ts";
import { MalformedMessage } from "./error.ts";
import { decodeFamily, getFamily } from "./genetlink.ts";
import { MessageReader } from "./message.ts";
import {
  decodeDevice,
  dumpDevice,
  joinDevice,
  type PeerChange,
  removePeer,
  setDevice,
  setPeer,
  WG_GENL_NAME,
  type WireguardDeviceMessage,
} from "./wireguard.ts";
import { MessageWriter } from "./writer.ts";

/** The number that the family had when the messages were captured. */
const FAMILY = 0x20;
const NLCTRL = 0x10;

const all = readExchanges("captured_wireguard.txt");
const typeOf = (bytes: Uint8Array) => (bytes[4] ?? 0) | ((bytes[5] ?? 0) << 8);
/** Without the question for the family that every command begins with. */
const exchanges = all.map(({ command, sent, received }) => ({
  command,
  sent: sent.filter((bytes) => typeOf(bytes) === FAMILY),
  received: received.filter((bytes) => typeOf(bytes) === FAMILY),
}));
const keyOf = (first: number) => Uint8Array.from({ length: 32 }, (_, i) => first + i).toBase64();

const K = "QIN7Wqp0QDOXaQi5CVqUzsM40Vra1JAQnxLbMfEUvFc=";
const J = "hPQ2FmPNQYkjMvcMTDzRDnQ2gdcSYAhpK1hyI1oPuWQ=";
const SET_K = `wg set wg0 peer ${K} preshared-key /psk endpoint 192.168.77.2:51820 persistent-keepalive 25 allowed-ips 10.5.2.0/24,fd00:5:0:2::/64`;
const PEER_K = {
  publicKey: K,
  presharedKey: keyOf(32),
  endpoint: { address: "192.168.77.2" as Address, port: 51820 },
  keepaliveSeconds: 25,
  allowedIps: ["10.5.2.0/24", "fd00:5:0:2::/64"] as Prefix[],
};
const PEER_J = { publicKey: J, endpoint: { address: "fd00:77::2" as Address, port: 51821 } };

function device(occurrence: number): WireguardDeviceMessage | undefined {
  const { received } = captured("wg show wg0 dump", occurrence, exchanges);
  const messages = received.map((bytes) => {
    const message = new MessageReader(bytes);
    expect(message.next()).toBe(true);
    return decodeDevice(message, FAMILY);
  });
  return joinDevice(messages.filter((each) => each !== undefined));
}

describe("requests are those of wg", () => {
  const requests: [string, (writer: MessageWriter) => void][] = [
    [
      "wg set wg0 listen-port 51820 private-key /key",
      (writer) => setDevice(writer, FAMILY, "wg0", { privateKey: keyOf(0), listenPort: 51820 }),
    ],
    ["wg show wg0 dump", (writer) => dumpDevice(writer, FAMILY, "wg0")],
    [SET_K, (writer) => setPeer(writer, FAMILY, "wg0", { ...PEER_K, replace: true })],
    [`wg set wg0 peer ${J} endpoint [fd00:77::2]:51821`, (writer) => setPeer(writer, FAMILY, "wg0", PEER_J)],
    [`wg set wg0 peer ${K} remove`, (writer) => removePeer(writer, FAMILY, "wg0", K)],
  ];
  test.each(requests)("%s", (command, write) => expectSameRequest(command, write, exchanges));

  test("the question for the family", () => {
    expectSameRequest("wg show wg0 dump", (writer) => getFamily(writer, WG_GENL_NAME), all);
  });
});

test("decodeFamily reads the number of a family", () => {
  const answer = captured("wg show wg0 dump", 0, all).received.find((bytes) => typeOf(bytes) === NLCTRL);
  const message = new MessageReader(answer ?? new Uint8Array());
  expect(message.next()).toBe(true);
  expect(decodeFamily(message)).toBe(FAMILY);
});

describe("decodeDevice", () => {
  const own = { publicKey: "j0DFrbaPJWJK5bIU6nZ6bslNgp09e14a0bpvPiE4KF8=", listenPort: 51820 };

  test("reads a device without peers", () => {
    expect(device(0)).toEqual({ ...own, privateKey: expect.any(String), peers: [] });
  });

  test("reads peers of both families, with and without secret, endpoint, keepalive and prefixes", () => {
    const none = { presharedKey: undefined, keepaliveSeconds: 0, lastHandshakeMs: 0, allowedIps: [] };
    expect(device(1)?.peers.toSorted((a, b) => a.publicKey.localeCompare(b.publicKey))).toEqual(
      [
        { ...none, ...PEER_J },
        { ...none, ...PEER_K },
      ].toSorted((a, b) => a.publicKey.localeCompare(b.publicKey)),
    );
  });

  test("joins a peer that goes on in further messages", () => {
    const [peer, ...others] = device(2)?.peers ?? [];
    expect(others).toEqual([]);
    expect(peer?.endpoint).toEqual(PEER_J.endpoint);
    const wanted = Array.from({ length: 500 }, (_, i) => `fd00:5:0:${i + 1}::/64`);
    expect(peer?.allowedIps.toSorted() as string[]).toEqual(wanted.toSorted());
  });

  test("joins peers that begin in further messages", () => {
    const peer = { ...PEER_K, lastHandshakeMs: 0 };
    const message = { ...own, privateKey: undefined, peers: [peer] };
    const joined = joinDevice([
      message,
      {
        ...message,
        peers: [
          { ...peer, allowedIps: [] },
          { ...peer, publicKey: J },
        ],
      },
    ]);
    expect(joined?.peers.map(({ publicKey, allowedIps }) => [publicKey, allowedIps.length])).toEqual([
      [K, 2],
      [J, 2],
    ]);
    expect(joinDevice([])).toBeUndefined();
  });
});

describe("properties", () => {
  const random = randomNumbers(5_1820);

  test("a peer is read as it was written", () => {
    for (let i = 0; i < 500; i++) {
      const peer = randomPeer(random);
      const [read] = readBack(peer)?.peers ?? [];
      expect(read).toEqual({ ...peer, lastHandshakeMs: 0 });
    }
  });

  test("decodeDevice throws nothing but MalformedMessage, whatever bytes are changed", () => {
    let whole = 0;
    for (const bytes of exchanges.flatMap(({ sent, received }) => [...sent, ...received])) {
      for (let i = 0; i < 300; i++) {
        const broken = Uint8Array.from(bytes);
        for (let n = 1 + (random() % 4); n > 0; n--) broken[16 + (random() % (broken.length - 16))] = random();
        if (survives(broken)) whole++;
      }
    }
    expect(whole).toBeGreaterThan(0);
  });
});

function readBack(peer: PeerChange): WireguardDeviceMessage | undefined {
  const writer = new MessageWriter();
  setPeer(writer, FAMILY, "wg0", peer);
  const message = new MessageReader(Uint8Array.from(writer.bytes));
  message.next();
  return decodeDevice(message, FAMILY);
}

function survives(bytes: Uint8Array): boolean {
  try {
    const message = new MessageReader(bytes);
    while (message.next()) decodeDevice(message, FAMILY);
    return true;
  } catch (error) {
    expect(error).toBeInstanceOf(MalformedMessage);
    return false;
  }
}

function randomPeer(random: () => number): Required<Omit<PeerChange, "replace" | "onlyExisting">> {
  const key = () => Uint8Array.from({ length: 32 }, (_, i) => (i === 0 ? 1 : random())).toBase64();
  const address = () =>
    (random() % 2 === 0
      ? `10.${random() % 256}.${random() % 256}.${random() % 256}`
      : `fd00:${(1 + (random() % 0xffff)).toString(16)}::${(1 + (random() % 0xffff)).toString(16)}`) as Address;
  const prefix = () => {
    const at = address();
    return makePrefix(at, random() % (at.includes(":") ? 129 : 33));
  };
  return {
    publicKey: key(),
    presharedKey: random() % 2 === 0 ? key() : undefined,
    endpoint: { address: address(), port: random() % 65536 },
    keepaliveSeconds: random() % 65536,
    allowedIps: Array.from({ length: random() % 20 }, prefix),
  };
}

/** The same numbers in every run: a linear congruential generator (Numerical Recipes), its upper bits. */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 8;
  };
}
