// The ipip backend beside Go flannel's on one etcd, in a guest: in a mixed network, and taking over from each other. FLANNEL_GO names Go's program
// (../e2e/go_flannel.ts); docs/ipip.md says what came of it.

import { beforeAll, describe, expect, test } from "bun:test";
import { basename, join } from "node:path";
import { GO_FLANNELS } from "../e2e/go_flannel.ts";
import { everyPing, type NodesResult, runNodes } from "./nodes.ts";

const LIMIT_MS = 400_000;

describe.each(GO_FLANNELS.filter(({ api }) => api === "3"))("$title", ({ executable }) => {
  let nodes: NodesResult;

  beforeAll(async () => {
    nodes = await runNodes({
      script: join(import.meta.dir, "ipip_go.sh"),
      config: { Network: "10.5.0.0/16", Backend: { Type: "ipip" } },
      families: ["ipv4"],
      etcd: true,
      programs: [executable],
      // Go's program ends where bridges pass nothing to iptables.
      modules: ["ipip", "br_netfilter"],
      variables: { GO: basename(executable) },
      timeLimitMs: LIMIT_MS,
    });
  }, LIMIT_MS + 10_000);

  test("every pod reaches every other in a mixed network, and after each change", () => {
    for (const section of ["mixed", "taken", "returned"]) {
      expect([section, nodes.said(section)]).toEqual([section, everyPing(["ipv4"])]);
    }
  });

  test("device, MTU and leases are alike", () => {
    expect(nodes.file("device-1")).toBe(nodes.file("device-2"));
    const mtu = /^FLANNEL_MTU=1480$/m;
    for (const n of [1, 2]) expect(nodes.file(`subnet-${n}`)).toMatch(mtu);
    const lease = (n: number) => `{"PublicIP":"192.168.77.${n}","PublicIPv6":null,"BackendType":"ipip"}`;
    expect(nodes.file("leases").split("\n")).toEqual([1, 2, 3].map(lease));
  });

  test("either takes over the other's device, and ours its routes, without a lost packet", () => {
    expect(nodes.said("kept")).toEqual(["2: same device", "1: same device"]);
    expect(nodes.said("loss")).toEqual(["takeover: 0 lost", "return: 0 lost"]);
    const routes = nodes.file("routes-2").split("\n");
    expect(routes.map((line) => line.replace(/ nhid \d+/, ""))).toEqual([
      expect.stringMatching(/^10\.5\.\d+\.0\/24 via 192\.168\.77\.\d dev flannel\.ipip proto 70 onlink$/),
      expect.stringMatching(/^10\.5\.\d+\.0\/24 via 192\.168\.77\.\d dev flannel\.ipip proto 70 onlink$/),
    ]);
  });
});
