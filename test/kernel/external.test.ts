// The external interface, which is not ours, as the kernel's part follows it: what its state means for routes through it, and which of its routes are news.

import { describe, expect, test } from "bun:test";
import { parseAddress } from "../../src/ip/address.ts";
import { parsePrefix } from "../../src/ip/prefix.ts";
import { Reconciler } from "../../src/kernel/reconciler.ts";
import { RtnetlinkDriver } from "../../src/kernel/rtnetlink.ts";
import { type KernelObject, keyOf } from "../../src/state/object.ts";
import { becomes } from "../e2e/becomes.ts";
import { addExternalInterface, Namespace, OWNERSHIP, run } from "./linux_world.ts";

const external = { name: "eth0", onLink: [parsePrefix("192.168.77.0/24"), parsePrefix("fd00:77::/64")] as never[] };

function open(onHostChange: () => void = () => {}, nexthopObjects = true) {
  const namespace = new Namespace();
  addExternalInterface(namespace);
  const driver = new RtnetlinkDriver({ ownership: OWNERSHIP, nexthopObjects, namespace: namespace.path, onHostChange });
  driver.follow(external);
  const stop = new AbortController();
  const reconciler = new Reconciler([driver], { report: () => {} });
  const running = reconciler.run(stop.signal);
  return {
    namespace,
    driver,
    reconciler,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
      driver[Symbol.dispose]();
      namespace[Symbol.dispose]();
    },
  };
}

describe("routes of the external interface", () => {
  test("a router's full table that changes all the time is no news, what is on link is", async () => {
    let changes = 0;
    await using world = open(() => changes++);
    const { namespace, reconciler } = world;
    reconciler.desire(new Map(), "all", true);
    await reconciler.settled();
    changes = 0;
    const bgp = Array.from(
      { length: 5_000 },
      (_, i) => `100.${64 + (i >> 8)}.${i & 255}.0/24 via 192.168.77.254 proto bgp\n`,
    );
    const foreign = [
      ...bgp.map((line) => `route add ${line}`),
      ...bgp.map((line) => `route replace ${line.replace("via 192.168.77.254", "via 192.168.77.253")}`),
      ...bgp.map((line) => `route delete ${line.replace("via 192.168.77.254", "via 192.168.77.253")}`),
    ];
    run(`ip -n ${namespace.name} -batch -`, foreign.join(""));
    // Ours, and others' on another interface or in another table.
    namespace.run(`
      ip route add 10.5.9.0/24 via 192.168.77.9 proto 70
      ip route add 192.168.77.8/32 via 192.168.77.9 table 100
      ip route add 172.20.0.0/16 dev lo`);
    await reconciler.settled();
    const mark = async (command: string) => {
      const before = changes;
      namespace.run(command);
      await becomes(() => changes > before, true);
    };
    // Notifications come in order: had one of those above been news, it would have been counted by now.
    await mark("ip route add 192.168.77.7/32 via 192.168.77.254");
    expect(changes).toBe(1);
    await mark("ip route delete 192.168.77.7/32 via 192.168.77.254");
    await mark("ip route add 172.21.0.0/16 dev eth0");
    await mark("ip -6 route add fd00:77::7/128 via fd00:77::fe");
    await mark("ip route add 192.168.77.6/32 nexthop via 192.168.77.254 nexthop via 192.168.77.253");
  });
});

/** 10.5.2.0/24 and fd00:5:0:2::/64 through eth0, or over flannel-v6.1 and its like. */
function desired(by: "eth0" | "vxlan", form: "object" | "plain"): Map<ReturnType<typeof keyOf>, KernelObject> {
  const objects: unknown[] = [];
  for (const [dst, direct, dev] of [
    ["10.5.2.0/24", "192.168.77.2", "flannel.1"],
    ["fd00:5:0:2::/64", "fd00:77::2", "flannel-v6.1"],
  ] as const) {
    const local = parseAddress(dev === "flannel.1" ? "192.168.77.1" : "fd00:77::1");
    const mac = `02:00:00:00:00:0${dev.length === 9 ? 1 : 2}`;
    const vxlan = { type: "vxlan", vni: 1, parent: "eth0", local, port: 8472, learning: false, gbp: false };
    objects.push({ kind: "link", name: dev, mac, mtu: 1400, info: { ...vxlan, group: undefined, l2miss: false } });
    objects.push({ kind: "up", dev });
    const hop =
      by === "eth0"
        ? { dev: "eth0", gateway: direct, onlink: false }
        : { dev, gateway: dst.replace(/\/.*/, ""), onlink: true };
    if (form === "object") objects.push({ kind: "nexthop", ...hop });
    objects.push({ kind: "route", dst, ...hop, form });
  }
  return new Map((objects as KernelObject[]).map((object) => [keyOf(object), object]));
}

describe.each(["object", "plain"] as const)("routes to peers, form %s", (form) => {
  const routes = (namespace: Namespace) =>
    namespace
      .run("ip route show proto 70; ip -6 route show proto 70")
      .trim()
      .split("\n")
      .filter((line) => line !== "")
      .map((line) =>
        line
          .replace(/ nhid \d+/, "")
          .replace(/ (metric|pref|linkdown|onlink).*/, "")
          .trim(),
      );
  const direct = ["10.5.2.0/24 via 192.168.77.2 dev eth0", "fd00:5:0:2::/64 via fd00:77::2 dev eth0"];
  const overlay = ["10.5.2.0/24 via 10.5.2.0 dev flannel.1", "fd00:5:0:2::/64 via fd00:5:0:2:: dev flannel-v6.1"];

  test("a peer goes from direct to vxlan and back at once, and nothing fails on the way", async () => {
    await using world = open(undefined, form === "object");
    const { namespace, reconciler } = world;
    for (const [by, expected] of [
      ["eth0", direct],
      ["vxlan", overlay],
      ["eth0", direct],
      ["vxlan", overlay],
    ] as const) {
      reconciler.desire(desired(by, form), "all", true);
      await reconciler.settled();
      expect(reconciler.troubles).toEqual(new Map());
      expect(routes(namespace)).toEqual(expected);
    }
  });

  test("without a carrier nothing is tried, and everything is back with it", async () => {
    await using world = open(undefined, form === "object");
    const { namespace, reconciler } = world;
    reconciler.desire(desired("eth0", form), "all", true);
    await reconciler.settled();
    namespace.run("ip link set eth0p down");
    await becomes(() => namespace.run("ip -o link show dev eth0").includes("state UP"), false);
    namespace.run(
      "ip -6 route flush proto 70; for id in $(ip nexthop show proto 70 | cut -d' ' -f2); do ip nexthop delete id $id; done; ip route flush proto 70",
    );
    await Bun.sleep(200);
    expect(reconciler.troubles).toEqual(new Map());
    namespace.run("ip link set eth0p up");
    await becomes(() => routes(namespace), direct);
    expect(reconciler.troubles).toEqual(new Map());
  });
});
