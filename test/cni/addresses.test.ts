// host-local by itself, as a program, beside the reference on the same files: many at once, and ranges that are full.

import { afterEach, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Host, type Json, REFERENCE } from "./runtime.ts";

const PROCESSES = 200;
/** As containerd starts them at most on a node of this size. */
const AT_A_TIME = 16;

const hosts: Host[] = [];
afterEach(() => {
  for (const host of hosts.splice(0)) host[Symbol.dispose]();
});

function world(ipam: Json, cniVersion = "1.0.0") {
  const host = new Host();
  hosts.push(host);
  const conf = {
    cniVersion,
    name: "net",
    type: "host-local",
    ipam: { type: "host-local", dataDir: host.path("a"), ...ipam },
  };
  const ours = join(host.ours, "host-local");
  const reference = join(REFERENCE, "host-local");
  const netns = host.pod().namespace.path;
  const taken = () =>
    readdirSync(host.path("a/net"))
      .filter((name) => /^[0-9a-f]+[.:]/.test(name))
      .sort();
  const target = (containerId: string) => ({ containerId, netns });
  return { host, conf, ours, reference, taken, target };
}

test("200 processes at once, half of them the reference's, get 200 addresses", async () => {
  const { host, conf, ours, reference, taken, target } = world({
    ranges: [[{ subnet: "10.5.1.0/24" }], [{ subnet: "fd00::/64" }]],
  });
  let started = 0;
  const results: Json[] = [];
  const work = async () => {
    while (started < PROCESSES) {
      const i = started++;
      const answer = await host.start("ADD", i % 2 === 0 ? ours : reference, conf, {}, target(`c${i}`));
      expect(answer).toMatchObject({ exitCode: 0, stderr: "" });
      results.push(answer.json);
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, work));
  const addresses = results.flatMap((result) => result.ips.map((ip: Json) => ip.address.replace(/\/.*/, "")));
  expect(new Set(addresses).size).toBe(2 * PROCESSES);
  expect(taken()).toEqual([...addresses].sort());
}, 60_000);

test("addresses go round: ours continues where the reference was, and the other way round", () => {
  const { host, conf, ours, reference, target } = world({ subnet: "10.5.1.0/29" });
  const address = (plugin: string, id: string) => host.call("ADD", plugin, conf, {}, target(id)).json.ips[0].address;
  expect(address(reference, "a")).toBe("10.5.1.2/29");
  expect(address(ours, "b")).toBe("10.5.1.3/29");
  for (const [plugin, id] of [
    [ours, "a"],
    [reference, "b"],
  ] as const) {
    expect(host.call("DEL", plugin, conf, {}, target(id)).exitCode).toBe(0);
  }
  expect(address(reference, "c")).toBe("10.5.1.4/29");
  expect(["d", "e", "f"].map((id) => address(ours, id))).toEqual(["10.5.1.5/29", "10.5.1.6/29", "10.5.1.2/29"]);
});

test("a full range is told with its limits, its files and what frees them; STATUS says it before", () => {
  const { host, conf, ours, target } = world({ subnet: "10.5.1.0/30" }, "1.1.0");
  expect(host.call("STATUS", ours, conf).exitCode).toBe(0);
  expect(host.call("ADD", ours, conf, {}, target("a")).exitCode).toBe(0);
  const full = `no IP addresses available in range set: 10.5.1.1-10.5.1.2; all 1 are taken, one file each in ${host.path("a/net")}; "flannelctl ipam gc" frees those whose containers are gone`;
  expect(host.call("ADD", ours, conf, {}, target("b")).json).toMatchObject({
    code: 999,
    msg: `failed to allocate for range 0: ${full}`,
  });
  expect(host.call("STATUS", ours, conf).json).toMatchObject({ code: 50, msg: full });
});

test("a second ADD of one attachment is refused, as the reference refuses it", () => {
  const { host, conf, ours, reference, target, taken } = world({ subnet: "10.5.1.0/24" });
  host.call("ADD", ours, conf, {}, target("a"));
  const messages = [ours, reference].map((plugin) => host.call("ADD", plugin, conf, {}, target("a")).json.msg);
  const want = "failed to allocate for range 0: 10.5.1.2 has been allocated to a, duplicate allocation is not allowed";
  expect(messages).toEqual([want, want]);
  expect(taken()).toEqual(["10.5.1.2"]);
});

test("what a killed process left is nobody's: an empty file is given again, DEL and GC remove it", () => {
  const { host, conf, ours, target, taken } = world({ subnet: "10.5.1.0/24" }, "1.1.0");
  mkdirSync(host.path("a/net"), { recursive: true });
  const leave = (name: string) => writeFileSync(host.path(`a/net/${name}`), "");
  leave("10.5.1.2");
  leave("last_reserved_ip.0");
  expect(host.call("ADD", ours, conf, {}, target("a")).json.ips[0].address).toBe("10.5.1.2/24");
  leave("10.5.1.9");
  leave(".reserving");
  expect(host.call("DEL", ours, conf, {}, target("other")).exitCode).toBe(0);
  expect(taken()).toEqual(["10.5.1.2"]);
  leave("10.5.1.9");
  const gc = { ...conf, "cni.dev/valid-attachments": [{ containerID: "b", ifname: "eth0" }] };
  expect(host.call("GC", ours, gc)).toMatchObject({ exitCode: 0, stdout: "" });
  expect(readdirSync(host.path("a/net")).sort()).toEqual(["last_reserved_ip.0", "lock"]);
});

test("GC keeps those that are named, also in the form of the container alone", () => {
  const { host, conf, ours, target, taken } = world({ subnet: "10.5.1.0/24" }, "1.1.0");
  for (const id of ["a", "b", "c"]) host.call("ADD", ours, conf, {}, target(id));
  writeFileSync(host.path("a/net/10.5.1.20"), "old");
  const attachments = [
    { containerID: "b", ifname: "eth0" },
    { containerID: "c", ifname: "net1" },
    { containerID: "old", ifname: "eth0" },
  ];
  expect(host.call("GC", ours, { ...conf, "cni.dev/valid-attachments": attachments }).exitCode).toBe(0);
  expect(taken()).toEqual(["10.5.1.20", "10.5.1.3"]);
});

test("CHECK finds the address, and says which file it misses", () => {
  const { host, conf, ours, target } = world({ subnet: "10.5.1.0/24" });
  const prevResult = host.call("ADD", ours, conf, {}, target("a")).json;
  expect(host.call("CHECK", ours, { ...conf, prevResult }, {}, target("a")).exitCode).toBe(0);
  host.call("DEL", ours, conf, {}, target("a"));
  expect(host.call("CHECK", ours, { ...conf, prevResult }, {}, target("a")).json.msg).toStartWith(
    "host-local: Failed to find address added by container a",
  );
});

test("name servers come from the file that resolvConf names, as with the reference", () => {
  const { host, conf, ours, reference, target } = world({ subnet: "10.5.1.0/24" });
  const file = "# a\nnameserver 10.0.0.1\nnameserver fd00::1\ndomain a.b\nsearch c.d e.f\noptions ndots:5 edns0\n;x\n";
  const own = { ...conf, ipam: { ...conf.ipam, resolvConf: host.write("resolv.conf", file) } };
  const [a, b] = [ours, reference].map((plugin, i) => host.call("ADD", plugin, own, {}, target(`c${i}`)).json);
  expect(a.dns).toEqual(b.dns);
  expect(a.dns).toMatchObject({ domain: "a.b", search: ["c.d", "e.f"] });
});

test.each([
  [{}, "ipam.ranges: no IP ranges specified"],
  [{ subnet: "10.5.1.1/24" }, 'ipam.subnet: got "10.5.1.1/24", want no host bits: 10.5.1.0/24'],
  [{ subnet: "10.5.1.0/31" }, 'ipam.subnet: got "10.5.1.0/31", want one large enough to allocate from'],
  [
    { subnet: "10.5.1.0/24", rangeStart: "10.5.2.1" },
    'ipam.rangeStart: got "10.5.2.1", want an address in 10.5.1.0/24',
  ],
  [{ ranges: [[{ subnet: "10.5.1.0/24" }], [{ subnet: "10.5.0.0/16" }]] }, "range set 1 overlaps with 0"],
  [{ ranges: [[{ subnet: "10.5.1.0/24" }, { subnet: "fd00::/64" }]] }, "ranges of two families in one set"],
  [{ subnet: "10.5.1.0/24", routes: [{ dst: "x" }], dataDir: 7 }, 'ipam.routes[0].dst: got "x"'],
])("garbage is refused in words: %j", (ipam, message) => {
  const { host, conf, ours, reference, target } = world(ipam);
  const { exitCode, stderr, json } = host.call("ADD", ours, conf, {}, target("a"));
  expect({ exitCode, stderr, code: json.code }).toEqual({ exitCode: 1, stderr: "", code: 7 });
  expect(json.msg).toContain(message);
  expect(host.call("ADD", reference, conf, {}, target("a")).exitCode).toBe(1);
});

test("the address given last is no more than itself, also when it is shorter than the one before", () => {
  const { host, conf, ours, target } = world({
    subnet: "10.5.1.0/24",
    rangeStart: "10.5.1.99",
    rangeEnd: "10.5.1.101",
  });
  const last = () => readFileSync(host.path("a/net/last_reserved_ip.0"), "utf8");
  for (const [id, address] of [
    ["a", "10.5.1.99"],
    ["b", "10.5.1.100"],
    ["c", "10.5.1.101"],
  ] as const) {
    host.call("ADD", ours, conf, {}, target(id));
    expect(last()).toBe(address);
  }
  host.call("DEL", ours, conf, {}, target("a"));
  host.call("ADD", ours, conf, {}, target("d"));
  expect(last()).toBe("10.5.1.99");
});
