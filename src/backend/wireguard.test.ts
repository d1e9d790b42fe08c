import { describe, expect, test } from "bun:test";
import { FACTS, lease } from "../../test/kernel/contract.ts";
import { ConfigError } from "../config/fault.ts";
import type { Address } from "../ip/address.ts";
import type { PerFamily } from "../ip/family.ts";
import type { Lease } from "../lease/lease.ts";
import { printOperation } from "../state/print.ts";
import { wireguard } from "./wireguard.ts";
import { preferredFamily } from "./wireguard_family.ts";
import { parseKey } from "./wireguard_key.ts";

const PSK = Uint8Array.from({ length: 32 }, (_, i) => 100 + i).toBase64();
const keyOf = (n: number) => new Uint8Array(32).fill(n).toBase64();
const IDENTITY = { privateKey: keyOf(200), publicKey: keyOf(1), privateKeyFile: "/run/flannel/wgkey" };

/** Node `n` of this backend; its key is `n` 32 times. */
function node(n: number, changes: Partial<Lease> = {}): Lease {
  const data = (Port: number) => ({ PublicKey: keyOf(n), Port });
  return lease(n, { backendType: "wireguard", backendData: { ipv4: data(51820), ipv6: data(51821) }, ...changes });
}

const OWN = node(1);
const config = (options: object = {}) => wireguard.config({ Type: "wireguard", ...options });
const lines = (objects: Iterable<Parameters<typeof printOperation>[0]["object"]>) =>
  [...objects].map((object) => printOperation({ verb: "add", object }));

function peer(lease: Lease, options: object = {}, own = OWN): readonly string[] | string {
  const objects = wireguard.peer(config(options), IDENTITY, own, lease, FACTS);
  return "kind" in objects ? objects.reason : lines(objects);
}

describe("wireguard.node()", () => {
  test("in mode separate makes a device, and a route to the whole network, for each family", () => {
    expect(lines(wireguard.node(config(), IDENTITY, OWN, FACTS))).toEqual([
      "ip link add flannel-wg mtu 1420 type wireguard",
      "wg set flannel-wg listen-port 51820 private-key /run/flannel/wgkey",
      "ip link set flannel-wg up",
      "ip link add flannel-wg-v6 mtu 1420 type wireguard",
      "wg set flannel-wg-v6 listen-port 51821 private-key /run/flannel/wgkey",
      "ip link set flannel-wg-v6 up",
      "ip address replace 10.5.1.0/32 dev flannel-wg",
      "ip route replace 10.5.0.0/16 dev flannel-wg proto 70",
      "ip address replace fd00:5:0:1::/128 dev flannel-wg-v6 nodad",
      "ip route replace fd00:5::/48 dev flannel-wg-v6 proto 70",
    ]);
  });

  test.each(["auto", "ipv4", "ipv6"])("in mode %s makes one device for both families", (Mode) => {
    expect(lines(wireguard.node(config({ Mode, ListenPort: 7, MTU: 1400 }), IDENTITY, OWN, FACTS))).toEqual([
      "ip link add flannel-wg mtu 1320 type wireguard",
      "wg set flannel-wg listen-port 7 private-key /run/flannel/wgkey",
      "ip link set flannel-wg up",
      "ip address replace 10.5.1.0/32 dev flannel-wg",
      "ip route replace 10.5.0.0/16 dev flannel-wg proto 70",
      "ip address replace fd00:5:0:1::/128 dev flannel-wg nodad",
      "ip route replace fd00:5::/48 dev flannel-wg proto 70",
    ]);
  });
});

describe("wireguard.peer()", () => {
  const set = (dev: string, endpoint: string, more = "") =>
    `wg set ${dev} peer ${keyOf(2)} endpoint ${endpoint} persistent-keepalive off${more}`;
  const allowed = (dev: string, prefix: string) => `wg set ${dev} peer ${keyOf(2)} allowed-ips +${prefix}`;
  const [V4, V6] = ["10.5.2.0/24", "fd00:5:0:2::/64"];

  const rows: readonly {
    readonly name: string;
    readonly options?: object;
    readonly peer?: Partial<Lease>;
    readonly want: readonly string[];
  }[] = [
    {
      name: "in mode separate: a peer of each device",
      want: [
        set("flannel-wg", "192.168.77.2:51820"),
        allowed("flannel-wg", V4),
        set("flannel-wg-v6", "[fd00:77::2]:51821"),
        allowed("flannel-wg-v6", V6),
      ],
    },
    {
      name: "in mode separate without a public IP of a family: a peer of the other",
      peer: { publicIp: { ipv4: "192.168.77.2" as Address } },
      want: [set("flannel-wg", "192.168.77.2:51820"), allowed("flannel-wg", V4)],
    },
    {
      name: "in mode ipv4: one peer for both",
      options: { Mode: "ipv4" },
      want: [set("flannel-wg", "192.168.77.2:51820"), allowed("flannel-wg", V4), allowed("flannel-wg", V6)],
    },
    {
      name: "in mode ipv6, with the port that the peer tells",
      options: { Mode: "ipv6" },
      peer: { backendData: { ipv6: { PublicKey: keyOf(2), Port: 5 } } },
      want: [set("flannel-wg", "[fd00:77::2]:5"), allowed("flannel-wg", V4), allowed("flannel-wg", V6)],
    },
    {
      name: "in mode auto, by IPv4 between private addresses",
      options: { Mode: "auto" },
      want: [set("flannel-wg", "192.168.77.2:51820"), allowed("flannel-wg", V4), allowed("flannel-wg", V6)],
    },
    {
      name: "with this node's port when the peer tells none",
      options: { Mode: "auto", ListenPort: 9 },
      peer: { backendData: { ipv4: { PublicKey: keyOf(2) }, ipv6: { PublicKey: keyOf(2), Port: 0 } } },
      want: [set("flannel-wg", "192.168.77.2:9"), allowed("flannel-wg", V4), allowed("flannel-wg", V6)],
    },
    {
      name: "with a secret that is not printed",
      options: { Mode: "ipv4", PSK },
      want: [
        set("flannel-wg", "192.168.77.2:51820", " preshared-key /dev/stdin"),
        allowed("flannel-wg", V4),
        allowed("flannel-wg", V6),
      ],
    },
  ];
  for (const { name, options, peer: changes, want } of rows) {
    test(name, () => expect(peer(node(2, changes), options)).toEqual(want));
  }

  test("has no more than the families of this node", () => {
    const { ipv4 } = OWN.subnet;
    const own = { ...OWN, subnet: { ...(ipv4 && { ipv4 }) } };
    expect(peer(node(2), {}, own)).toEqual([set("flannel-wg", "192.168.77.2:51820"), allowed("flannel-wg", V4)]);
  });

  const wanted = 'want {"PublicKey":"<32 bytes in base64>","Port":<UDP port>}';
  const data = (value: unknown) => ({ backendData: { ipv4: value } });
  const refusals: readonly (readonly [string, Partial<Lease>, object, string])[] = [
    ["another backend", { backendType: "vxlan" }, {}, 'its BackendType is "vxlan", this node runs wireguard'],
    ["no data", { backendData: {} }, {}, `its backend data is undefined, ${wanted}`],
    ["a key that is none", data({ PublicKey: "x" }), {}, `its backend data is {"PublicKey":"x"}, ${wanted}`],
    [
      "a port that is none",
      data({ PublicKey: "", Port: 65536 }),
      {},
      `its backend data is {"PublicKey":"","Port":65536}, ${wanted}`,
    ],
    ["this node's key", data({ PublicKey: keyOf(1) }), {}, `its PublicKey ${keyOf(1)} is this node's own`],
    ["no public IP", { publicIp: {} }, {}, "it has no subnet with a public IP in a family of this node"],
    [
      "no public IP of the mode",
      { publicIp: { ipv4: "192.168.77.2" as Address } },
      { Mode: "ipv6" },
      "it has no IPv6 public IP, by which Mode ipv6 sends",
    ],
  ];
  for (const [name, changes, options, reason] of refusals) {
    test(`refuses ${name}`, () => expect(peer(node(2, changes), options)).toBe(reason));
  }
});

describe("wireguard.config()", () => {
  test("has upstream's defaults", () => {
    expect(config()).toEqual({
      listenPort: 51820,
      listenPortV6: 51821,
      mtu: 0,
      mode: "separate",
      keepaliveSeconds: 0,
      presharedKey: undefined,
    });
  });

  test("names every fault, and shows no secret", () => {
    const secret = "not a key, but secret";
    const read = () => config({ PSK: secret, ListenPort: 0, Mode: "both", PersistentKeepaliveInterval: 70_000 });
    expect(read).toThrow(ConfigError);
    expect(faults({ PSK: secret, Mode: "both" })).toEqual([
      'net-conf.json: Backend.Mode: got "both", want separate, auto, ipv4, ipv6',
      "net-conf.json: Backend.PSK: got what is not shown here, want a key of 32 bytes in base64, as wg genpsk makes it",
    ]);
    expect(faults({ PSK: 12345, ListenPort: 0 })).toEqual([
      "net-conf.json: Backend.PSK: got what is not shown here, want text in double quotes",
      "net-conf.json: Backend.ListenPort: got 0, want a whole number from 1 to 65535",
    ]);
  });
});

describe("identity", () => {
  const x25519 = (key: Uint8Array) => key.map((byte) => byte ^ 0xff);
  const path = "/run/flannel/wgkey";
  const known = (secret: string | undefined) =>
    wireguard.known(config(), { stored: {}, links: [], secret, secretPath: path });
  const none = () => {
    throw new Error("nothing is left to chance");
  };

  test("is the key in the file, with or without a line end", () => {
    const key = new Uint8Array(32).fill(7);
    for (const end of ["", "\n"]) {
      expect(wireguard.identity(known(key.toBase64() + end), none, x25519)).toEqual({
        privateKey: key.toBase64(),
        publicKey: x25519(key).toBase64(),
        privateKeyFile: path,
      });
    }
  });

  test("is random without a file, with the bits that the function ignores as wg has them", () => {
    const { privateKey } = wireguard.identity(known(undefined), (length) => new Uint8Array(length).fill(0xff), x25519);
    const bytes = Uint8Array.fromBase64(privateKey);
    expect([bytes[0], bytes[1], bytes[31]]).toEqual([0xf8, 0xff, 0x7f]);
    expect(wireguard.secretFile?.text({ ...IDENTITY, privateKey })).toBe(privateKey);
  });

  test.each(["", "x", "secret but no key", keyOf(0)])("is nothing that %j in the file could be", (text) => {
    expect(() => known(text)).toThrow(`${path}: got what is not shown here, want a private key of 32 bytes in base64`);
  });
});

test("leaseData tells the key, and the port that is listened to", () => {
  const both = { ipv4: true, ipv6: true };
  const data = (Port: number) => ({ PublicKey: IDENTITY.publicKey, Port });
  const rows = [
    [{}, both, { ipv4: data(51820), ipv6: data(51821) }],
    [{ ListenPort: 5, ListenPortV6: 6 }, both, { ipv4: data(5), ipv6: data(6) }],
    [{ Mode: "auto" }, both, { ipv4: data(51820), ipv6: data(51820) }],
    [{}, { ipv6: true }, { ipv6: data(51821) }],
  ] as const;
  for (const [options, families, want] of rows) {
    expect(wireguard.leaseData(config(options), IDENTITY, families)).toEqual(want);
  }
});

test("mtu is 80 less than the underlay's in both families", () => {
  for (const [MTU, want] of [
    [0, 1420],
    [1400, 1320],
    [9000, 1420],
  ]) {
    expect(wireguard.mtu(config({ MTU }), FACTS, { ipv4: true })).toBe(want as number);
  }
});

test("ownsLink knows both devices by name and kind", () => {
  expect(wireguard.ownsLink("flannel-wg", "wireguard")).toBe(true);
  expect(wireguard.ownsLink("flannel-wg-v6", "wireguard")).toBe(true);
  expect(wireguard.ownsLink("flannel-wg", "vxlan")).toBe(false);
  expect(wireguard.ownsLink("wg0", "wireguard")).toBe(false);
});

describe("preferredFamily", () => {
  const [PRIVATE4, PUBLIC4, PRIVATE6, PUBLIC6] = ["10.0.0.1", "192.0.2.1", "fd00::1", "2001:db8::1"] as Address[];
  const of = (ipv4: Address | undefined, ipv6: Address | undefined): PerFamily<Address> => ({
    ...(ipv4 && { ipv4 }),
    ...(ipv6 && { ipv6 }),
  });
  test.each([
    ["the peer has no IPv6", of(PRIVATE4, PUBLIC6), of(PRIVATE4, undefined), "ipv4"],
    ["the peer has no IPv4", of(PRIVATE4, PUBLIC6), of(undefined, PUBLIC6), "ipv6"],
    ["the peer has a public IPv4", of(PRIVATE4, PUBLIC6), of(PUBLIC4, PUBLIC6), "ipv4"],
    ["both have a public IPv6, and the peer a private IPv4", of(PRIVATE4, PUBLIC6), of(PRIVATE4, PUBLIC6), "ipv6"],
    ["this node's IPv6 is private", of(PRIVATE4, PRIVATE6), of(PRIVATE4, PUBLIC6), "ipv4"],
    ["the peer's IPv6 is private", of(PRIVATE4, PUBLIC6), of(PRIVATE4, PRIVATE6), "ipv4"],
    ["172.16.0.0/12 is private to its end", of(PRIVATE4, PUBLIC6), of("172.31.0.1" as Address, PUBLIC6), "ipv6"],
    ["172.32.0.0 is not", of(PRIVATE4, PUBLIC6), of("172.32.0.1" as Address, PUBLIC6), "ipv4"],
  ] as const)("%s", (_, own, peer, want) => expect(preferredFamily(own, peer)).toBe(want));
});

test("parseKey takes what spells a key, and one text for each", () => {
  const key = keyOf(3);
  expect(parseKey(`${key}\n`)).toBe(key);
  // The last digit before "=" has two bits that mean nothing.
  expect(parseKey(keyOf(0).replace(/.A=$/, "BB="))).toBe(parseKey(keyOf(0).replace(/.A=$/, "BA=")));
  for (const text of ["", keyOf(0), key.slice(1), `${key}=`, key.replace("=", ""), `${key}${key}`]) {
    expect(parseKey(text)).toBeUndefined();
  }
});

function faults(options: object): string[] {
  try {
    config(options);
  } catch (error) {
    return (error as Error).message.split("\n");
  }
  return [];
}
