import { describe, expect, test } from "bun:test";
import { formatSubnetEnv, parseSubnetEnv, previousLease, type SubnetEnv } from "./subnet_env.ts";

/** Files as upstream writes them: shell scripts and the CNI plugin look for these lines, in this form. */
const FILES: readonly [string, string, SubnetEnv][] = [
  [
    "IPv4",
    "FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.74.1/24\nFLANNEL_MTU=1472\nFLANNEL_IPMASQ=true\n",
    {
      network: { ipv4: "10.1.0.0/16" },
      subnet: { ipv4: "10.1.74.0/24" },
      mtu: 1472,
      ipMasq: true,
    } as unknown as SubnetEnv,
  ],
  [
    "both families",
    "FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.74.1/24\nFLANNEL_IPV6_NETWORK=fd00::/48\nFLANNEL_IPV6_SUBNET=fd00:0:0:5::1/64\nFLANNEL_MTU=1430\nFLANNEL_IPMASQ=false\n",
    {
      network: { ipv4: "10.1.0.0/16", ipv6: "fd00::/48" },
      subnet: { ipv4: "10.1.74.0/24", ipv6: "fd00:0:0:5::/64" },
      mtu: 1430,
      ipMasq: false,
    } as unknown as SubnetEnv,
  ],
  [
    "IPv6 alone",
    "FLANNEL_IPV6_NETWORK=fd00::/48\nFLANNEL_IPV6_SUBNET=fd00:0:0:5::1/64\nFLANNEL_MTU=1430\nFLANNEL_IPMASQ=false\n",
    {
      network: { ipv6: "fd00::/48" },
      subnet: { ipv6: "fd00:0:0:5::/64" },
      mtu: 1430,
      ipMasq: false,
    } as unknown as SubnetEnv,
  ],
];

describe.each(FILES)("%s", (_, text, env) => {
  test("formatSubnetEnv writes the file", () => {
    expect(formatSubnetEnv(env)).toBe(text);
  });
  test("parseSubnetEnv and previousLease read it back", () => {
    const file = parseSubnetEnv(text);
    expect(file).toMatchObject({ mtu: env.mtu, ipMasq: env.ipMasq });
    expect(previousLease(file)).toEqual({ network: env.network, subnet: env.subnet, problems: [] });
  });
});

test("formatSubnetEnv leaves out a family that has no subnet", () => {
  const env = {
    network: { ipv4: "10.1.0.0/16", ipv6: "fd00::/48" },
    subnet: { ipv4: "10.1.74.0/24" },
    mtu: 1,
    ipMasq: false,
  };
  expect(formatSubnetEnv(env as unknown as SubnetEnv)).not.toContain("IPV6");
});

test("lists are read without repeats, and a previous lease that names several is ignored with a problem", () => {
  const file = parseSubnetEnv("FLANNEL_NETWORK=10.1.0.0/16,10.2.0.0/16,10.1.0.0/16\nFLANNEL_SUBNET=10.1.74.1/24\n");
  expect<unknown>(file.networks.ipv4).toEqual(["10.1.0.0/16", "10.2.0.0/16"]);
  expect<unknown>(previousLease(file)).toEqual({
    network: {},
    subnet: { ipv4: "10.1.74.0/24" },
    problems: ["FLANNEL_NETWORK: got 10.1.0.0/16,10.2.0.0/16, want one; ignored"],
  });
});

test("what a file does not say is absent, and no problem", () => {
  expect(parseSubnetEnv("# by hand\n\nOTHER=1\r\n")).toEqual({
    networks: {},
    subnets: {},
    mtu: undefined,
    ipMasq: undefined,
    problems: [],
  });
});

test("quotes and carriage returns of a hand-written file do not matter", () => {
  const file = parseSubnetEnv("FLANNEL_SUBNET=\"10.1.74.1/24\"\r\nFLANNEL_MTU='1450'\r\nFLANNEL_IPMASQ=yes\r\n");
  expect<unknown>([file.subnets.ipv4, file.mtu, file.ipMasq, file.problems]).toEqual([
    ["10.1.74.0/24"],
    1450,
    false,
    [],
  ]);
});

test("every value that does not parse is a problem, and absent", () => {
  const text =
    "FLANNEL_NETWORK=10.1.0.0\nFLANNEL_SUBNET=fd00::1/64\nFLANNEL_IPV6_SUBNET=\nFLANNEL_MTU=big\nFLANNEL_IPMASQ\n";
  expect(parseSubnetEnv(text)).toEqual({
    networks: {},
    subnets: {},
    mtu: undefined,
    ipMasq: undefined,
    problems: [
      '"FLANNEL_IPMASQ": want KEY=VALUE',
      'FLANNEL_NETWORK: got "10.1.0.0", want an ipv4 prefix',
      'FLANNEL_SUBNET: got "fd00::1/64", want an ipv4 prefix',
      'FLANNEL_IPV6_SUBNET: got "", want an ipv6 prefix',
      'FLANNEL_MTU: got "big", want a number of bytes',
    ],
  });
});
