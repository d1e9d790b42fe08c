// The ipsec backend in a guest, whose kernel has ESP: three nodes with a charon each, everything that is done to one, and what packets look like. What goes on
// in there is ipsec.sh.

import { beforeAll, describe, expect, test } from "bun:test";
import { IPSEC, KEY, LIMIT_MS, runIpsec } from "./ipsec_nodes.ts";
import { everyPing, type NodesResult } from "./nodes.ts";
import { expectedWire, IPSEC_ENCAP, IPSEC as IPSEC_WIRE, wireOf } from "./wire.ts";

const ENCAP = { ...IPSEC, Backend: { ...IPSEC.Backend, UDPEncap: true } };
const VXLAN = { ...IPSEC, Backend: { Type: "vxlan" } };

let nodes: NodesResult;

beforeAll(async () => {
  const [ipsec, encap, vxlan] = [IPSEC, ENCAP, VXLAN].map((config) => JSON.stringify(config));
  nodes = await runIpsec("ipsec.sh", {
    modules: ["vxlan"],
    variables: { IPSEC: `${ipsec}`, ENCAP: `${encap}`, VXLAN: `${vxlan}`, KEY },
  });
}, LIMIT_MS + 10_000);

const lines = (name: string) => nodes.file(name).split("\n");
/** "10.5.7" of node n. */
const subnet = (n: number) => `${/^FLANNEL_SUBNET=(.*)\.1\/24$/m.exec(nodes.file(`subnet-${n}`))?.[1]}.0/24`;
const others = (n: number) => [1, 2, 3].filter((other) => other !== n);

describe("three nodes", () => {
  test("every pod reaches every other", () => {
    expect(nodes.said("start")).toEqual(everyPing(["ipv4"]));
  });

  test("there are three policies for each peer", () => {
    for (const n of [1, 2, 3]) {
      const policy = (src: number, dst: number, direction: string) =>
        `src ${subnet(src)} dst ${subnet(dst)} dir ${direction} priority 0 ptype main tmpl src 192.168.77.${src} dst 192.168.77.${dst} proto esp reqid 11 mode tunnel`;
      const expected = others(n).flatMap((peer) => [
        policy(n, peer, "out"),
        policy(peer, n, "in"),
        policy(peer, n, "fwd"),
      ]);
      expect(lines(`policies-${n}`)).toEqual(expected.sort());
    }
  });

  test("there is one connection for each peer, named and made as upstream's", () => {
    const expected = [2, 3].map((peer) => {
      const child = `${subnet(1)}-${subnet(peer)}`;
      return [
        `192.168.77.1-${child}-192.168.77.${peer} {local_addrs=[192.168.77.1] remote_addrs=[192.168.77.${peer}] version=IKEv2 reauth_time=0 rekey_time=14400`,
        `local-1 {id=192.168.77.1 class=pre-shared key`,
        `remote-1 {id=192.168.77.${peer} class=pre-shared key`,
        `children {${child} {mode=TUNNEL rekey_time=3600`,
        `local-ts=[${subnet(1)}] remote-ts=[${subnet(peer)}]}}}}`,
      ];
    });
    for (const parts of expected) {
      const [line = ""] = lines("connections").filter((each) => each.includes(parts[0] ?? ""));
      for (const part of parts) expect(line).toContain(part);
    }
    expect(lines("connections")).toHaveLength(2);
  });

  test("the associations are of the ciphers that are asked for, one pair for each peer at least", () => {
    const text = nodes.file("associations");
    expect(text).toContain("AES_CBC-256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_4096");
    expect(text.match(/INSTALLED, TUNNEL, ESP:AES_GCM_16-128/g)?.length).toBeGreaterThanOrEqual(2);
    expect(nodes.file("states")).toMatch(/^ *[4-8] reqid 11 mode tunnel$/m);
  });

  test("there is a route for each peer, so that no packet follows the default route unencrypted", () => {
    expect(
      lines("routes")
        .map((line) => line.trim())
        .sort(),
    ).toEqual([2, 3].map((peer) => `${subnet(peer)} dev eth0 scope link`).sort());
  });

  test("leases have no backend data, and pods the MTU less what ESP takes", () => {
    const leases = JSON.parse(nodes.file("subnets")) as Record<string, unknown>[];
    expect(leases.map(({ backendType, backendData }) => [backendType, backendData])).toEqual(
      Array(3).fill(["ipsec", {}]),
    );
    expect(nodes.file("subnet-1")).toContain("FLANNEL_MTU=1423\n");
  });

  test("the key stands in no file of flanneld's or charon's, and in nobody's arguments or environment", () => {
    expect(nodes.said("leaks")).toEqual([]);
    expect(nodes.file("key-processes")).toBe("");
    expect(lines("modes").map((mode) => Number.parseInt(mode, 8) & 0o007)).toEqual([0, 0, 0, 0]);
  });
});

describe("on the wire", () => {
  test("packets as long as the MTU go in one piece, longer ones in several or not at all", () => {
    expect(nodes.said("sizes")).toEqual(["1 > 2 ipv4: 3 of 3", "1 > 2 ipv4: 0 of 3", "1 > 2 ipv4: 3 of 3"]);
  });

  test("there is ESP alone", () => {
    expect(lines("capture").filter((line) => line.includes(": ESP(spi=0x")).length).toBeGreaterThanOrEqual(9);
    expect(nodes.file("capture")).not.toMatch(/10\.5\.|ICMP echo/);
  });

  test("UDPEncap puts it into UDP 4500", () => {
    expect(nodes.said("encap")).toEqual(everyPing(["ipv4"]));
    expect(nodes.file("capture-encap")).toMatch(
      /192\.168\.77\.1\.4500 > 192\.168\.77\.2\.4500: UDP-encap: ESP\(spi=0x/,
    );
    expect(nodes.file("capture-encap")).not.toMatch(/10\.5\.|ICMP echo|: ESP\(spi=0x.*proto ESP/);
  });
});

test.each([IPSEC_WIRE, IPSEC_ENCAP].map((wire) => [wire.name, wire] as const))(
  "%s: packets, MTU and leases are as Go's were recorded",
  async (_name, wire) => expect(await wireOf(nodes, wire)).toEqual(expectedWire(wire)),
);

describe("a plan", () => {
  test("finds everything standing, in charon too", () => {
    expect(lines("plan").at(-1)).toMatch(/^# nothing to do: \d+ objects stand as wanted$/);
  });

  test("names charon and its connections when it was killed", () => {
    const wanted = lines("plan-killed").filter((line) => !/^# (?!start)/.test(line)); // but for remarks
    expect(wanted).toEqual([
      "# start: charon",
      ...[1, 2].map(() => expect.stringMatching(/^swanctl --initiate --ike 192\.168\.77\.3-.*-192\.168\.77\.[12] /)),
    ]);
  });
});

describe("what is damaged", () => {
  test("is repaired", () => {
    expect(nodes.said("drift").filter((line) => !line.endsWith(": repaired"))).toEqual([]);
    expect(nodes.said("drift")).toHaveLength(10);
    // Of thirty a second: the kernel has the keys, until the peers agree on new ones.
    const lost = nodes.said("loss").filter((line) => line.startsWith("charon killed"));
    expect(lost.map((line) => line.replace(/\d lost$/, "few lost"))).toEqual([
      "charon killed, from: few lost",
      "charon killed, to: few lost",
    ]);
    expect(nodes.said("drifted")).toEqual(everyPing(["ipv4"]));
  });

  test("is told as drift", () => {
    expect(nodes.log(1, /repaired: # start: charon$/)).toHaveLength(1);
    expect(nodes.log(1, /repaired: ip xfrm policy update .* dir out /)).toHaveLength(1);
    expect(nodes.log(1, /cannot|failed/)).toEqual([]);
  });
});

describe("restarts and peers", () => {
  test("a restart of flanneld loses no packet, and goes on with the same charon and associations", () => {
    expect(nodes.said("loss").filter((line) => /TERM|KILL/.test(line))).toEqual([
      "TERM from: 0 lost",
      "TERM to: 0 lost",
      "KILL from: 0 lost",
      "KILL to: 0 lost",
    ]);
    expect(nodes.said("kept").join()).toMatch(/^the same charon, \d+ associations, the same$/);
  });

  test("nothing of a peer that left stands, and it comes again", () => {
    expect(nodes.said("left")).toEqual([
      "1: 0 policies, 0 connections, 1 routes",
      "2: 0 policies, 0 connections, 1 routes",
    ]);
    expect(nodes.said("joined")).toEqual(everyPing(["ipv4"]));
  });

  test("a peer whose address becomes another is reached there, and the others meanwhile", () => {
    expect(nodes.said("moved")).toEqual(everyPing(["ipv4"]));
    expect(nodes.said("moved-policies")).toEqual(["0 old"]);
    expect(nodes.said("loss").at(-1)).toBe("others: 0 lost");
  });
});

describe("another backend", () => {
  test("leaves no policy, association, route, process or file", () => {
    expect(nodes.said("vxlan")).toEqual(everyPing(["ipv4"]));
    const none = "0 policies, 0 associations, 0 routes by eth0, files:"; // its log stays, to be read
    expect(nodes.said("after").map((line) => line.replace(/ charon\.(pid|flannel\.log)/g, "").trim())).toEqual([
      none,
      none,
      none,
    ]);
  });

  test("and back", () => {
    expect(nodes.said("again")).toEqual(everyPing(["ipv4"]));
  });
});
