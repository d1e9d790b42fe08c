import { describe, expect, test } from "bun:test";
import { parsePrefix } from "../../ip/prefix.ts";
import { isLabName, type LabOptions, labOfNamespace, layoutOf, networkConfigOf, podAddress } from "./layout.ts";

const OPTIONS: LabOptions = { name: "x", nodes: 2, pods: 1, families: ["ipv4", "ipv6"], backend: "vxlan" };

describe("layoutOf", () => {
  test("layoutOf: names, addresses and paths follow from the options alone", () => {
    const lab = layoutOf(OPTIONS, "/state");
    expect(lab.switchNamespace).toBe("flab-x-sw");
    expect(lab.storeFile).toBe("/state/x/store/store.db");
    expect(lab.nodes[1]).toMatchObject({
      name: "n2",
      namespace: "flab-x-n2",
      port: "p2",
      address: { ipv4: "192.168.77.12", ipv6: "fd00:77::12" },
      subnetFile: "/state/x/n2/run/flannel/subnet.env",
      pods: [{ name: "n2p1", namespace: "flab-x-n2p1", index: 0 }],
    });
  });

  test("layoutOf: every namespace is recognised as the lab's own, and none as another's", () => {
    for (const name of ["x", "x-n1", "x-sw", "n1"]) {
      const lab = layoutOf({ ...OPTIONS, name });
      const namespaces = [
        lab.switchNamespace,
        ...lab.nodes.flatMap((node) => [node.namespace, ...node.pods.map((p) => p.namespace)]),
      ];
      expect(new Set(namespaces.map(labOfNamespace))).toEqual(new Set([name]));
    }
  });

  test.each(["flab-x", "flab-x-", "flab-x-n1p", "flab--n1", "other-x-n1", "flab-x-n1-old"])(
    "labOfNamespace: %s is nobody's",
    (namespace) => {
      expect(labOfNamespace(namespace)).toBeUndefined();
    },
  );
});

describe("isLabName", () => {
  test.each([
    ["default", true],
    ["a-1", true],
    ["", false],
    ["-a", false],
    ["A", false],
    ["a/b", false],
    ["..", false],
    ["seventeen-letters", false],
  ])("isLabName: %p is %p", (name, valid) => {
    expect(isLabName(name)).toBe(valid);
  });
});

describe("podAddress", () => {
  test.each([
    ["10.244.3.0/24", 0, "10.244.3.2"],
    ["10.244.3.0/24", 9, "10.244.3.11"],
    ["fd00:10:244:3::/64", 1, "fd00:10:244:3::3"],
  ])("podAddress: %s, pod %d is %s", (subnet, index, address) => {
    expect<string | undefined>(podAddress(parsePrefix(subnet) ?? ("" as never), index)).toBe(address);
  });
});

describe("networkConfigOf", () => {
  test.each([
    { families: ["ipv4"] as const, config: { Network: "10.244.0.0/16" } },
    { families: ["ipv6"] as const, config: { EnableIPv4: false, EnableIPv6: true, IPv6Network: "fd00:10:244::/48" } },
    {
      families: ["ipv4", "ipv6"] as const,
      config: { Network: "10.244.0.0/16", EnableIPv6: true, IPv6Network: "fd00:10:244::/48" },
    },
  ])("networkConfigOf: $families", ({ families, config }) => {
    expect(networkConfigOf({ ...OPTIONS, families })).toEqual({ ...config, Backend: { Type: "vxlan" } });
  });
});
