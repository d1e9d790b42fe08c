import { expect, test } from "bun:test";
import { parseNetworkConfig } from "../config/net_conf.ts";
import { planOf } from "./prepare.ts";

const plan = (backend: object) =>
  planOf(
    parseNetworkConfig(JSON.stringify({ Network: "10.5.0.0/16", Backend: backend }), "net-conf.json"),
    "net-conf.json",
  );

test("planOf() warns of a backend option that looks misspelt, and of no other unknown one", () => {
  expect(plan({ Type: "vxlan", Prot: 1, VNI: 2 }).warnings).toEqual([
    "net-conf.json: Backend.Prot has no effect; did you mean Port",
  ]);
  expect(plan({ Type: "vxlan", Comment: "for the lab" }).warnings).toEqual([]);
});

test("planOf() refuses a family that the backend does not carry, and names backends that do", () => {
  const ipv6 = { EnableIPv6: true, IPv6Network: "fd00:5::/48" };
  const config = { Network: "10.5.0.0/16", ...ipv6, Backend: { Type: "udp" } };
  expect(() => planOf(parseNetworkConfig(JSON.stringify(config), "net-conf.json"), "net-conf.json")).toThrow(
    "net-conf.json: EnableIPv6: got true, want false: the udp backend carries no IPv6; backends that do: vxlan",
  );
});

test("planOf() names a backend that this version has not, and those it has", () => {
  expect(() => plan({ Type: "pigeon" })).toThrow(
    'net-conf.json: Backend.Type: got "pigeon", want a backend of this version: ',
  );
});

test("planOf() names wrong options and families that the backend does not carry at once", () => {
  const ipv6 = { EnableIPv6: true, IPv6Network: "fd00:5::/48" };
  const config = { Network: "10.5.0.0/16", ...ipv6, Backend: { Type: "udp", Port: 70_000, Strict: "yes" } };
  const read = () => planOf(parseNetworkConfig(JSON.stringify(config), "net-conf.json"), "net-conf.json");
  for (const key of ["Backend.Port", "Backend.Strict", "EnableIPv6"])
    expect(read).toThrow(`net-conf.json: ${key}: got`);
});
