import { expect, test } from "bun:test";
import { readSigningProfile } from "./signing_config.ts";

const YEAR_MS = 31_536_000_000;
const peer = { usages: ["signing", "server auth"], expiry: "17520h" };

test.each([
  ["of its own expiry", { default: { expiry: "1h" }, profiles: { peer } }, "peer", 2 * YEAR_MS],
  ["of the default's", { default: { expiry: "1h" }, profiles: { peer: { usages: peer.usages } } }, "peer", 3_600_000],
  ["of no expiry", { profiles: { peer: { usages: peer.usages } } }, "peer", YEAR_MS],
  ["without a name", { default: peer }, undefined, 2 * YEAR_MS],
])("a profile %s", (_, signing, name, expiryMs) => {
  const profile = readSigningProfile(JSON.stringify({ signing }), "f", name);
  expect(profile).toEqual({ usages: ["signing", "server auth"], expiryMs });
});

test.each([
  [{}, undefined, "f: signing: missing, want a JSON object"],
  [{ signing: 1 }, undefined, "f: signing: got 1, want a JSON object"],
  [
    { signing: { profiles: { peer } } },
    "pear",
    "f: signing.profiles.pear: missing, want a profile that is there; did you mean peer",
  ],
  [{ signing: { profiles: { peer } } }, "x", "f: signing.profiles.x: missing, want one of the profiles peer"],
  [
    { signing: { default: { expiry: "1h" } } },
    undefined,
    'f: signing.default.usages: missing, want a list such as ["signing", "client auth"]',
  ],
  [
    { signing: { default: { expiry: "1x", usages: ["server-auth"] } } },
    undefined,
    'f: signing.default.usages[0]: got "server-auth", want "server auth"\nf: signing.default.expiry: got "1x", want a time',
  ],
  [
    { signing: { profiles: { a: { ...peer, ca_constraint: { is_ca: true } } } } },
    "a",
    "f: signing.profiles.a.ca_constraint.is_ca: got true, want false",
  ],
])("what is wrong in %j is named", (config, name, fault) => {
  expect(() => readSigningProfile(JSON.stringify(config), "f", name)).toThrow(fault);
});
