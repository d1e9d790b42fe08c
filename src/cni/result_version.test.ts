import { expect, test } from "bun:test";
import type { Result } from "./result.ts";
import { formatResult, parseResult } from "./result_version.ts";
import { VERSIONS } from "./version.ts";

const result: Result = {
  interfaces: [
    { name: "cni0", mac: "9a:af:ea:d7:f0:8f" },
    { name: "vethf7c93e8f", mac: "f6:92:0f:d0:35:7a" },
    { name: "eth0", mac: "f2:68:3a:b5:da:a4", sandbox: "/var/run/netns/a" },
  ],
  ips: [
    { interface: 2, address: "10.5.1.3/24", gateway: "10.5.1.1" },
    { interface: 2, address: "fd00::2/64", gateway: "fd00::1" },
  ],
  routes: [{ dst: "0.0.0.0/0" }, { dst: "10.5.0.0/16", gw: "10.5.1.1" }],
  dns: { nameservers: ["1.2.3.4"] },
};

/** As Debian's bridge 1.1.1 printed it. */
const PER_FAMILY = (version: string) => `{
    "cniVersion": "${version}",
    "ip4": {
        "ip": "10.5.1.3/24",
        "gateway": "10.5.1.1",
        "routes": [
            {
                "dst": "0.0.0.0/0"
            },
            {
                "dst": "10.5.0.0/16",
                "gw": "10.5.1.1"
            }
        ]
    },
    "ip6": {
        "ip": "fd00::2/64",
        "gateway": "fd00::1"
    },
    "dns": {
        "nameservers": [
            "1.2.3.4"
        ]
    }
}`;

const LISTS = (version: string, four: string, six: string) => `{
    "cniVersion": "${version}",
    "interfaces": [
        {
            "name": "cni0",
            "mac": "9a:af:ea:d7:f0:8f"
        },
        {
            "name": "vethf7c93e8f",
            "mac": "f6:92:0f:d0:35:7a"
        },
        {
            "name": "eth0",
            "mac": "f2:68:3a:b5:da:a4",
            "sandbox": "/var/run/netns/a"
        }
    ],
    "ips": [
        {${four}
            "interface": 2,
            "address": "10.5.1.3/24",
            "gateway": "10.5.1.1"
        },
        {${six}
            "interface": 2,
            "address": "fd00::2/64",
            "gateway": "fd00::1"
        }
    ],
    "routes": [
        {
            "dst": "0.0.0.0/0"
        },
        {
            "dst": "10.5.0.0/16",
            "gw": "10.5.1.1"
        }
    ],
    "dns": {
        "nameservers": [
            "1.2.3.4"
        ]
    }
}`;

function reference(version: string): string {
  if (version < "0.3.0") return PER_FAMILY(version);
  const family = (number: string) => (version < "1.0.0" ? `\n            "version": "${number}",` : "");
  return LISTS(version, family("4"), family("6"));
}

test.each(VERSIONS)("formatResult in %s has the bytes of the reference", (version) => {
  expect(formatResult(result, version)).toBe(reference(version));
});

test.each(VERSIONS)("parseResult reads the form of %s, as far as that says it", (version) => {
  const { interfaces, ips, ...rest } = result;
  const lists = version >= "0.3.0";
  const bare = ips.map(({ address, gateway = "" }) => ({ address, gateway }));
  expect(parseResult(JSON.parse(reference(version)), "result")).toEqual({
    interfaces: lists ? interfaces : [],
    ips: lists ? ips : bare,
    ...rest,
  });
});

const rich: Result = {
  interfaces: [{ name: "eth0", mtu: 1450, socketPath: "/run/s", pciID: "0000:00:1f.6" }],
  ips: [{ address: "10.5.1.3/24" }],
  routes: [{ dst: "0.0.0.0/0", mtu: 1400, advmss: 1360, priority: 0, table: 100, scope: 253 }],
  dns: {},
};

test("formatResult in 1.1.0 says what 1.0.0 cannot", () => {
  const { interfaces, routes } = rich;
  expect(JSON.parse(formatResult(rich, "1.1.0"))).toMatchObject({ interfaces, routes });
  expect(parseResult(JSON.parse(formatResult(rich, "1.1.0")), "result")).toEqual(rich);
  expect(JSON.parse(formatResult(rich, "1.0.0"))).toEqual({
    cniVersion: "1.0.0",
    interfaces: [{ name: "eth0" }],
    ips: [{ address: "10.5.1.3/24" }],
    routes: [{ dst: "0.0.0.0/0" }],
    dns: {},
  });
});

test("formatResult in 0.2.0 takes the first address of a family, and refuses a result without any", () => {
  const two = { ...rich, ips: [{ address: "10.5.1.3/24" }, { address: "10.5.1.4/24" }] };
  expect(JSON.parse(formatResult(two, "0.2.0"))).toEqual({
    cniVersion: "0.2.0",
    ip4: { ip: "10.5.1.3/24", routes: [{ dst: "0.0.0.0/0" }] },
    dns: {},
  });
  expect(() => formatResult({ ...rich, ips: [] }, "0.2.0")).toThrow("cannot convert the result to CNI 0.2.0");
});

test.each([
  [7, "cannot read result: got 7, want a JSON object"],
  [{ ips: {} }, "cannot read result.ips: got {}, want a list"],
  [{ ips: [{ gateway: 1 }] }, "result.ips[0].address: missing, want text; result.ips[0].gateway: got 1, want text"],
  [{ interfaces: ["eth0"] }, 'result.interfaces[0]: got "eth0", want a JSON object'],
  [{ ip4: { routes: [{}] } }, "result.ip4.ip: missing, want text; result.ip4.routes[0].dst: missing, want text"],
  [{ dns: { nameservers: "1.1.1.1" } }, 'result.dns.nameservers: got "1.1.1.1", want a list of text'],
])("parseResult of %j names what is wrong", (json, words) => {
  expect(() => parseResult(json, "result")).toThrow(words);
});
