import { expect, test } from "bun:test";
import type { Prefix } from "../../ip/prefix.ts";
import { netConfOf } from "../net_conf.ts";
import { readFlannelConf } from "./conf.ts";
import { delegateConf, delegateRaw } from "./delegate_conf.ts";
import type { NodeSubnet } from "./subnet.ts";

const prefixes = (...texts: string[]) => texts as Prefix[];
const v4: NodeSubnet = {
  networks: prefixes("10.5.0.0/16"),
  subnets: prefixes("10.5.1.0/24"),
  mtu: 1450,
  ipMasq: false,
};
const dual: NodeSubnet = {
  networks: prefixes("10.5.0.0/16", "10.6.0.0/16", "fd00:5::/48"),
  subnets: prefixes("10.5.1.0/24", "fd00:5:0:1::/64"),
  mtu: 1430,
  ipMasq: true,
};

function made(raw: Record<string, unknown>, subnet: NodeSubnet) {
  const conf = netConfOf({ name: "cbr0", type: "flannel", ...raw });
  return delegateRaw(readFlannelConf(conf), conf, subnet);
}

const ipam4 = { type: "host-local", routes: [{ dst: "10.5.0.0/16" }], ranges: [[{ subnet: "10.5.1.0/24" }]] };

test.each<[string, Record<string, unknown>, NodeSubnet, Record<string, unknown>]>([
  ["nothing given", {}, v4, { name: "cbr0", type: "bridge", ipMasq: true, mtu: 1450, isGateway: true, ipam: ipam4 }],
  [
    "upstream's manifest",
    { cniVersion: "0.3.1", delegate: { hairpinMode: true, isDefaultGateway: true } },
    v4,
    {
      cniVersion: "0.3.1",
      name: "cbr0",
      type: "bridge",
      hairpinMode: true,
      isDefaultGateway: true,
      ipMasq: true,
      mtu: 1450,
      isGateway: true,
      ipam: ipam4,
    },
  ],
  [
    "what is given stays",
    { delegate: { ipMasq: false, mtu: 1400, isGateway: false, bridge: "br7" } },
    v4,
    { name: "cbr0", type: "bridge", bridge: "br7", ipMasq: false, mtu: 1400, isGateway: false, ipam: ipam4 },
  ],
  [
    "another type has no isGateway",
    { cniVersion: "", delegate: { type: "ptp" }, runtimeConfig: { portMappings: [] } },
    v4,
    { name: "cbr0", type: "ptp", ipMasq: true, mtu: 1450, runtimeConfig: { portMappings: [] }, ipam: ipam4 },
  ],
  [
    "ipam goes through, with routes extended and ranges replaced",
    {
      ipam: {
        type: "x",
        dataDir: "/d",
        routes: [{ dst: "1.0.0.0/8", gw: "10.5.1.9" }],
        ranges: [[{ subnet: "9.0.0.0/8" }]],
      },
    },
    dual,
    {
      name: "cbr0",
      type: "bridge",
      ipMasq: false,
      mtu: 1430,
      isGateway: true,
      ipam: {
        type: "x",
        dataDir: "/d",
        routes: [
          { dst: "1.0.0.0/8", gw: "10.5.1.9" },
          { dst: "10.5.0.0/16" },
          { dst: "10.6.0.0/16" },
          { dst: "fd00:5::/48" },
        ],
        ranges: [[{ subnet: "10.5.1.0/24" }], [{ subnet: "fd00:5:0:1::/64" }]],
      },
    },
  ],
])("delegateRaw, %s", (_, raw, subnet, delegate) => {
  expect(made(raw, subnet)).toEqual(delegate);
});

test("delegateConf states the version that an unstated one is in, and leaves the text alone", () => {
  const conf = delegateConf(made({}, v4));
  expect(conf).toMatchObject({ cniVersion: "0.1.0", name: "cbr0", type: "bridge" });
  expect(conf.raw).not.toHaveProperty("cniVersion");
});

test.each([
  [{ delegate: { type: 7 } }, "'delegate' dictionary, if present, must have (string) 'type' field"],
  [{ delegate: { name: "a" } }, "'delegate' dictionary must not have 'name' field, it'll be set by flannel"],
  [{ delegate: { ipam: {} } }, "'delegate' dictionary must not have 'ipam' field, it'll be set by flannel"],
  [{ ipam: { routes: [{ gw: "1.1.1.1" }] } }, "failed to parse ipam.routes"],
  [{ subnetFile: 1, dataDir: 2, builtin: 3 }, "builtin: got 3, want true or false; subnetFile: got 1"],
  [
    { delegate: [], ipam: "x", runtimeConfig: 1 },
    'delegate: got [], want a JSON object; ipam: got "x", want a JSON object; runtimeConfig',
  ],
])("readFlannelConf of %j is refused", (raw, words) => {
  const faulty = () => readFlannelConf(netConfOf({ name: "cbr0", ...raw }));
  expect(faulty).toThrow(expect.objectContaining({ code: 7 }));
  expect(faulty).toThrow(words);
});
