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

test("planOf() names a backend that this version has not, and those it has", () => {
  expect(() => plan({ Type: "host-gw" })).toThrow(
    'net-conf.json: Backend.Type: got "host-gw", want a backend of this version: vxlan',
  );
});

test("planOf() refuses IPv6 in a network whose backend carries IPv4 alone", () => {
  const config = { Network: "10.5.0.0/16", EnableIPv6: true, IPv6Network: "fd00:5::/48", Backend: { Type: "ipip" } };
  const read = () => planOf(parseNetworkConfig(JSON.stringify(config), "net-conf.json"), "net-conf.json");
  expect(read).toThrow(
    "net-conf.json: EnableIPv6: got true, want false: the ipip backend carries no IPv6; backends that do: vxlan",
  );
});
