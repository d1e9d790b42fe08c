// The built-in bridge where the reference is no measure: STATUS, GC, CHECK, repair, clean-up after a refusal and after kill -9.

import { afterEach, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { Host, type Json, type Pod } from "./runtime.ts";

const hosts: Host[] = [];
afterEach(() => {
  for (const host of hosts.splice(0)) host[Symbol.dispose]();
});

function world(more: Json = {}) {
  const host = new Host();
  hosts.push(host);
  const ipam = {
    type: "host-local",
    dataDir: host.path("a"),
    ranges: [[{ subnet: "10.5.1.0/24" }], [{ subnet: "fd00::/64" }]],
  };
  const conf = { cniVersion: "1.1.0", name: "net", type: "bridge", isDefaultGateway: true, ipam, ...more };
  return { host, conf, bridge: join(host.ours, "bridge") };
}

/** Addresses that are taken, links but lo and the bridge, rules of containers: what nothing may be left of. */
function leftovers(host: Host): Json {
  const names = (directory: string) => {
    try {
      return readdirSync(directory);
    } catch {
      return [];
    }
  };
  return {
    files: names(host.path("a/net"))
      .filter((name) => !/^(lock|last_reserved_ip\.\d)$/.test(name))
      .sort(),
    links: host.namespace
      .run("ip -br link")
      .split("\n")
      .filter((line) => line.startsWith("veth")),
    rules: host.namespace
      .run("iptables-save; ip6tables-save")
      .split("\n")
      .filter((line) => line.includes("CNI-")),
  };
}

const NOTHING = { files: [], links: [], rules: [] };

function linksIn(pod: Pod): string[] {
  return JSON.parse(pod.run("ip -j link")).map((link: Json) => link.ifname);
}

test("ADD, CHECK, DEL, DEL again, DEL when the namespace is gone", () => {
  const { host, conf, bridge } = world();
  const pod = host.pod();
  const prevResult = pod.add(bridge, conf);
  expect(prevResult.interfaces.map(({ mtu }: Json) => mtu)).toEqual([1500, 1500, 1500]);
  pod.run("ping -c1 -W1 10.5.1.1");
  expect(pod.call("CHECK", bridge, { ...conf, prevResult })).toMatchObject({ exitCode: 0, stdout: "" });
  pod.del(bridge, conf);
  expect([leftovers(host), linksIn(pod)]).toEqual([NOTHING, ["lo"]]);
  pod.del(bridge, conf);
  pod.add(bridge, conf);
  pod[Symbol.dispose]();
  pod.del(bridge, conf);
  expect(leftovers(host).files).toEqual([]);
});

test.each([
  ["ip address delete 10.5.1.2/24 dev eth0", "eth0 lacks the address 10.5.1.2/24"],
  ["ip route delete default", "the route 0.0.0.0/0 via 10.5.1.1 dev eth0 is missing"],
  ["ip link set eth0 address 02:00:00:00:00:01", "eth0 has the MAC 02:00:00:00:00:01"],
  ["ip link delete eth0", "there is no interface eth0"],
])("CHECK notices: %s", (commands, message) => {
  const { host, conf, bridge } = world();
  const pod = host.pod();
  const prevResult = pod.add(bridge, conf);
  pod.run(commands);
  const { exitCode, json } = pod.call("CHECK", bridge, { ...conf, prevResult });
  expect([exitCode, json.msg]).toEqual([1, expect.stringContaining(message)]);
});

test("CHECK notices what was done to the host's side", () => {
  const { host, conf, bridge } = world();
  const pod = host.pod();
  const prevResult = pod.add(bridge, conf);
  const check = () => pod.call("CHECK", bridge, { ...conf, prevResult }).json?.msg ?? "well";
  expect(check()).toBe("well");
  host.namespace.run("ip address delete fd00::1/64 dev cni0");
  expect(check()).toContain("cni0 lacks the gateway's address fd00::1/64");
  host.namespace.run(`ip link set ${prevResult.interfaces[1].name} nomaster`);
  expect(check()).toContain("is not attached to cni0");
});

test("an address of an older subnet is replaced when nobody is attached, and named when somebody is", () => {
  const { host, conf, bridge } = world();
  const [old, next] = [host.pod(), host.pod()];
  old.add(bridge, conf);
  const moved = { ...conf, ipam: { ...conf.ipam, ranges: [[{ subnet: "10.5.2.0/24" }]] } };
  const refused = next.call("ADD", bridge, moved);
  expect([refused.exitCode, refused.json.msg]).toEqual([
    1,
    expect.stringMatching(
      /^"cni0" already has an IP address different from 10\.5\.2\.1\/24: it has 10\.5\.1\.1\/24, and 1 interface is attached to it \(veth[0-9a-f]{8}\); the node's subnet has changed: delete/,
    ),
  ]);
  expect(linksIn(next)).toEqual(["lo"]);
  old.del(bridge, conf);
  expect(leftovers(host)).toEqual(NOTHING);
  next.add(bridge, moved);
  expect(host.namespace.run("ip -br -4 address show cni0")).toContain("10.5.2.1/24");
  expect(host.namespace.run("ip -br -4 address show cni0")).not.toContain("10.5.1.1/24");
  next.run("ping -c1 -W1 10.5.2.1");
});

test("a refusal half-way leaves nothing: taken name, missing namespace, a route that cannot be", () => {
  const { host, conf, bridge } = world();
  const pod = host.pod();
  pod.run("ip link add eth0 type veth peer name other");
  expect(pod.call("ADD", bridge, conf).json.msg).toBe("container veth name provided (eth0) already exists");
  expect(leftovers(host)).toEqual(NOTHING);
  pod.run("ip link delete eth0");
  const routes = { ...conf, ipam: { ...conf.ipam, routes: [{ dst: "10.9.0.0/16", gw: "172.16.0.1" }] } };
  expect(pod.call("ADD", bridge, routes).json.msg).toStartWith(
    "failed to add route '10.9.0.0/16 via 172.16.0.1 dev eth0'",
  );
  expect([leftovers(host), linksIn(pod)]).toEqual([NOTHING, ["lo"]]);
  host.namespace.run("ip link delete cni0; ip link add cni0 type veth peer name x");
  expect(pod.call("ADD", bridge, conf).json.msg).toContain("cni0 already exists but is not a bridge");
  expect(leftovers(host).files).toEqual([]);
});

test("STATUS and GC reach IPAM, and GC removes the rules of those that are gone", () => {
  const { host, conf, bridge } = world({ ipMasq: true });
  const [kept, gone] = [host.pod(), host.pod()];
  kept.add(bridge, conf);
  gone.add(bridge, conf);
  gone[Symbol.dispose]();
  const valid = [{ containerID: kept.containerId, ifname: "eth0" }];
  expect(host.call("STATUS", bridge, conf)).toMatchObject({ exitCode: 0, stdout: "" });
  expect(host.call("GC", bridge, { ...conf, "cni.dev/valid-attachments": valid })).toMatchObject({
    exitCode: 0,
    stdout: "",
  });
  const left = leftovers(host);
  expect(left.files).toEqual(["10.5.1.2", "fd00::2"]);
  expect(left.rules.filter((rule: string) => rule.includes(gone.containerId))).toEqual([]);
  expect(left.rules.filter((rule: string) => rule.includes(kept.containerId)).length).toBe(6);
  kept.del(bridge, conf);
  expect(leftovers(host)).toEqual(NOTHING);
  const small = { ...conf, ipam: { ...conf.ipam, ranges: [[{ subnet: "10.5.3.0/30" }]], dataDir: host.path("b") } };
  kept.add(bridge, { ...small, bridge: "br1" });
  expect(host.call("STATUS", bridge, small).json).toMatchObject({ code: 50 });
});

test("keys that the built-in bridge does not know are refused, not passed over", () => {
  const { host, conf, bridge } = world({ vlan: 100 });
  expect(host.pod().call("ADD", bridge, conf).json).toMatchObject({
    code: 7,
    msg: expect.stringContaining("vlan: got 100"),
  });
});

/** What changes anything outside of the process; at each of them, the first, the second and so on, it is killed once, before the call is made. */
const CHANGES = ["link", "unlink", "write", "sendto", "setns", "flock", "exit_group"];

test.each(["ADD", "DEL"] as const)(
  "kill -9 at every step of %s: DEL and GC leave nothing",
  (verb) => {
    const { host, conf, bridge } = world();
    const first = host.pod(); // makes the bridge
    first.add(bridge, conf);
    let kills = 0;
    for (const change of CHANGES) {
      for (let count = 1, killed = true; killed; count++) {
        using pod = host.pod();
        if (verb === "DEL") pod.add(bridge, conf);
        const inject = `inject=${change}:signal=KILL:when=${count}`;
        const under = ["strace", "-q", "-o", "/dev/null", "-e", `trace=${change}`, "-e", inject];
        killed = pod.call(verb, bridge, conf, { under }).exitCode !== 0;
        if (killed) kills++;
        pod.del(bridge, conf);
        expect([change, count, linksIn(pod)]).toEqual([change, count, ["lo"]]);
        // What is left is the first one's.
        expect(leftovers(host)).toEqual({ files: ["10.5.1.2", "fd00::2"], links: [expect.anything()], rules: [] });
      }
    }
    expect(kills).toBeGreaterThan(6);
  },
  60_000,
);

test("kill -9 at every step of ADD without DEL: GC frees the addresses once the container is gone", () => {
  const { host, conf, bridge } = world({ ipMasq: true });
  for (const [change, count] of [
    ["link", 2],
    ["unlink", 1],
    ["sendto", 2],
    ["sendto", 5],
    ["exit_group", 1],
  ] as const) {
    using pod = host.pod();
    const inject = `inject=${change}:signal=KILL:when=${count}`;
    const under = ["strace", "-q", "-o", "/dev/null", "-e", `trace=${change}`, "-e", inject];
    expect(pod.call("ADD", bridge, conf, { under }).exitCode).not.toBe(0);
  }
  expect(leftovers(host)).not.toEqual(NOTHING);
  expect(host.call("GC", bridge, { ...conf, "cni.dev/valid-attachments": [] }).exitCode).toBe(0);
  const { files, rules } = leftovers(host);
  expect([files, rules]).toEqual([[], []]);
});
