import { describe, expect, test } from "bun:test";
import { FACTS, lease, OWN } from "../../test/kernel/contract.ts";
import { ConfigError } from "../config/fault.ts";
import type { Address } from "../ip/address.ts";
import type { Lease } from "../lease/lease.ts";
import { printOperation } from "../state/print.ts";
import type { HostFacts } from "./backend.ts";
import { ipsec } from "./ipsec.ts";

const KEY = "c0ffee5ec2e7".repeat(8);
const CONFIG = { presharedKey: KEY, udpEncap: false, espProposal: "aes128gcm16-sha256-prfsha256-ecp256" };

function faults(raw: unknown): string {
  try {
    ipsec.config(raw);
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  return "none";
}

describe("ipsec.config()", () => {
  test("needs a key alone", () => {
    expect(ipsec.config({ Type: "ipsec", PSK: KEY })).toEqual(CONFIG);
    expect(ipsec.config({ type: "ipsec", psk: KEY, udpencap: true, espproposal: "aes256-sha256-modp2048" })).toEqual({
      presharedKey: KEY,
      udpEncap: true,
      espProposal: "aes256-sha256-modp2048",
    });
  });

  const key = "net-conf.json: Backend.PSK";
  test.each<[string, unknown, string]>([
    ["no key", {}, `${key}: missing, want text of 96 bytes or more`],
    ["a key of null", { PSK: null }, `${key}: missing`],
    ["a short key", { PSK: "secret" }, `${key}: got text of 6 bytes, want text of 96 bytes or more`],
    ["a key that is no text", { PSK: ["secret"] }, `${key}: got what is not shown here, want text in double quotes`],
    ["the last of two spellings", { PSK: KEY, psk: "secret" }, `${key}: got text of 6 bytes`],
    ["a proposal with a blank", { PSK: KEY, ESPProposal: "aes 128" }, 'Backend.ESPProposal: got "aes 128"'],
    ["no proposal", { PSK: KEY, ESPProposal: "" }, 'Backend.ESPProposal: got ""'],
    ["no object", "secret", "a JSON object"],
  ])("tells of %s", (_, raw, message) => {
    expect(faults(raw)).toContain(message);
  });

  test("tells all faults at once, and never the key", () => {
    const text = faults({ PSK: "secret-sauce", UDPEncap: 1, ESPProposal: 2 });
    for (const name of ["PSK", "UDPEncap", "ESPProposal"]) expect(text).toContain(`Backend.${name}: got`);
    for (const raw of [{ PSK: "secret-sauce" }, { PSK: ["secret-sauce"] }, { psk: { a: "secret-sauce" } }])
      expect(faults(raw)).not.toContain("secret-sauce");
  });
});

const peer = (changes: Partial<Lease> = {}) => lease(2, { backendType: "ipsec", backendData: {}, ...changes });

function objects(of: Lease, facts: HostFacts = FACTS, own = OWN) {
  const found = ipsec.peer(CONFIG, {}, own, of, facts);
  if ("reason" in found) throw new Error(found.reason);
  return found;
}

describe("ipsec.peer()", () => {
  test("makes three policies, a connection and a route", () => {
    const tunnel = (src: number, dst: number) =>
      `tmpl src 192.168.77.${src} dst 192.168.77.${dst} proto esp reqid 11 mode tunnel`;
    expect(objects(peer()).map((object) => printOperation({ verb: "add", object }))).toEqual([
      `ip xfrm policy update src 10.5.1.0/24 dst 10.5.2.0/24 dir out ${tunnel(1, 2)}`,
      `ip xfrm policy update src 10.5.2.0/24 dst 10.5.1.0/24 dir in ${tunnel(2, 1)}`,
      `ip xfrm policy update src 10.5.2.0/24 dst 10.5.1.0/24 dir fwd ${tunnel(2, 1)}`,
      "swanctl --initiate --ike 192.168.77.1-10.5.1.0/24-10.5.2.0/24-192.168.77.2 --child 10.5.1.0/24-10.5.2.0/24",
      "ip route replace 10.5.2.0/24 dev eth0 proto 70",
    ]);
  });

  test("behind a NAT sends from the interface's address, and says that it is the public IP", () => {
    const own = { ...OWN, publicIp: { ipv4: "203.0.113.1" as Address } };
    const found = objects(peer(), FACTS, own);
    expect(found.find(({ kind }) => kind === "ike")).toMatchObject({ local: "192.168.77.1", localId: "203.0.113.1" });
    expect(found[0]).toMatchObject({ tunnel: { src: "192.168.77.1", dst: "192.168.77.2" } });
  });

  test("refuses peers of another backend and without IPv4", () => {
    expect(ipsec.peer(CONFIG, {}, OWN, peer({ backendType: "vxlan" }), FACTS)).toMatchObject({ kind: "refusal" });
    expect(ipsec.peer(CONFIG, {}, OWN, peer({ subnet: {} }), FACTS)).toMatchObject({ kind: "refusal" });
  });
});

test("ipsec.mtu() leaves room for ESP, and for UDP where it is asked for", () => {
  expect(ipsec.mtu(CONFIG, FACTS, OWN.subnet)).toBe(1423);
  expect(ipsec.mtu({ ...CONFIG, udpEncap: true }, FACTS, OWN.subnet)).toBe(1415);
});

test("no command of the backend's prints the key", () => {
  const all = [...ipsec.node(CONFIG, {}, OWN, FACTS), ...objects(peer())];
  for (const object of all) {
    for (const verb of ["add", "delete"] as const)
      expect(printOperation({ verb, object })).not.toContain(KEY.slice(0, 12));
  }
});
