// The flannel plugin with Debian's plugins as delegates, called as a runtime calls it, in namespaces. What it answers is compared with what the delegate answers when
// it is called directly.

import { afterEach, beforeEach, expect, test } from "bun:test";
import { chmodSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { VERSIONS } from "../../src/cni/version.ts";
import { formatStatus, type Status } from "../../src/config/status.ts";
import { type Answer, Host, type Json, REFERENCE } from "./runtime.ts";

const SUBNET_ENV = `FLANNEL_NETWORK=10.5.0.0/16
FLANNEL_SUBNET=10.5.1.1/24
FLANNEL_IPV6_NETWORK=fd00:5::/48
FLANNEL_IPV6_SUBNET=fd00:5:0:1::1/64
FLANNEL_MTU=1450
FLANNEL_IPMASQ=true
`;

let host: Host;
let flannel: string;

beforeEach(() => {
  host = new Host();
  flannel = join(host.ours, "flannel");
  host.write("subnet.env", SUBNET_ENV);
});

afterEach(() => host[Symbol.dispose]());

/** Programs only: built-in plugins have tests of their own. */
function conf(more: Record<string, unknown> = {}): Record<string, Json> {
  return {
    cniVersion: "1.0.0",
    name: "cbr0",
    type: "flannel",
    builtin: false,
    subnetFile: host.path("subnet.env"),
    dataDir: host.path("state"),
    ipam: { dataDir: host.path("ipam") },
    ...more,
  };
}

const states = () => (existsSync(host.path("state")) ? readdirSync(host.path("state")).sort() : []);
const state = (name: string): Json => JSON.parse(readFileSync(host.path(`state/${name}`), "utf8"));
const addresses = (network = "cbr0") => {
  const directory = host.path(`ipam/${network}`);
  return existsSync(directory) ? readdirSync(directory).filter((name) => /^[0-9a-f]+[.:]/.test(name)) : [];
};

/** A delegate of our own that answers by shell commands. */
function plugin(name: string, commands: string): void {
  writeFileSync(join(host.plugins, name), `#!/bin/sh\nstdin=$(cat)\n${commands}\n`);
  chmodSync(join(host.plugins, name), 0o755);
}

function fails(answer: Answer, code: number, words: string): void {
  expect(answer).toMatchObject({ exitCode: 1, stderr: "", json: { code } });
  expect(`${answer.json.msg} ${answer.json.details ?? ""}`).toContain(words);
}

/** What differs from call to call. */
function normalised(text: string): string {
  return text
    .replaceAll(/[0-9a-f]{2}(:[0-9a-f]{2}){5}/g, "MAC")
    .replaceAll(/veth[0-9a-f]{8}/g, "veth")
    .replaceAll(/flannel-test-\d+-\d+/g, "netns")
    .replaceAll(/\/netns\/netns/g, "/netns/X");
}

const BRIDGE = { isDefaultGateway: true, hairpinMode: true };
/** The others wait for duplicate addresses, a second each. */
const CASES: readonly (readonly [string, string, Record<string, unknown>])[] = [
  ...VERSIONS.map((version) => ["bridge", version, BRIDGE] as const),
  ["ptp", "0.3.1", {}],
  ["ptp", "1.1.0", {}],
  ["macvlan", "1.0.0", { master: "wire" }],
];

test.each(CASES)(
  "%s as the delegate in CNI %s: ADD answers its bytes, CHECK and DEL reach it",
  (type, version, options) => {
    host.namespace.run("ip link add wire type veth peer name wire0; ip link set wire up; ip link set wire0 up");
    const pod = host.pod();
    const own = conf({ cniVersion: version, delegate: { type, ...options } });
    const answer = pod.call("ADD", flannel, own);
    expect([answer.exitCode, answer.stderr]).toEqual([0, ""]);
    expect(answer.json.cniVersion).toBe(version);
    expect(pod.run("ip -o address show eth0")).toContain("10.5.1.2/24");
    expect(pod.run("ip -o address show eth0")).toContain("fd00:5:0:1::2/64");

    if (version >= "0.4.0") {
      const check = pod.call("CHECK", flannel, { ...own, prevResult: answer.json });
      expect([check.exitCode, check.stdout, check.stderr]).toEqual([0, "", ""]);
    }
    const { flannelAttachment: _, ...delegate } = state(pod.containerId);
    pod.del(flannel, own);
    expect([states(), addresses(), pod.run("ip -o link show type veth")]).toEqual([[], [], ""]);

    // The same from the delegate alone.
    rmSync(host.path("ipam"), { recursive: true, force: true });
    const known = version === "1.1.0" ? "1.0.0" : version;
    const direct = host.pod().call("ADD", join(REFERENCE, type), { ...delegate, cniVersion: known });
    const expected = normalised(direct.stdout).replace(`"cniVersion": "${known}"`, `"cniVersion": "${version}"`);
    expect(normalised(answer.stdout)).toBe(expected);
  },
);

test("the guide's bare configuration works", () => {
  const guide = { name: "mynet", type: "flannel", delegate: { isDefaultGateway: true } };
  const { subnetFile, dataDir, ipam, builtin } = conf();
  const pod = host.pod();
  const result = pod.add(flannel, { ...guide, subnetFile, dataDir, ipam, builtin });
  expect(result).toMatchObject({ cniVersion: "0.1.0", ip4: { ip: "10.5.1.2/24", gateway: "10.5.1.1" } });
  expect(pod.run("ip route")).toContain("default via 10.5.1.1 dev eth0");
  expect(state(pod.containerId)).not.toHaveProperty("cniVersion");
});

test("DEL works without subnet.env, without state, without a namespace, and more than once", () => {
  const pod = host.pod();
  pod.add(flannel, conf());
  rmSync(host.path("subnet.env"));
  pod.del(flannel, conf(), { environment: { CNI_NETNS: undefined } });
  expect([states(), addresses()]).toEqual([[], []]);
  pod.del(flannel, conf());
  host.pod().del(flannel, conf());
});

test("DEL of a pod whose namespace is gone frees its address", () => {
  const pod = host.pod();
  pod.add(flannel, conf());
  pod[Symbol.dispose]();
  pod.del(flannel, conf());
  expect([states(), addresses()]).toEqual([[], []]);
});

test("DEL keeps the state when the delegate failed, so that the next one frees the address", () => {
  const pod = host.pod();
  const broken = conf({ delegate: { type: "broken" } });
  plugin(
    "broken",
    `[ "$CNI_COMMAND" = DEL ] && [ -e ${host.path("fault")} ] && { echo '{"code":99,"msg":"not now","details":"d"}'; exit 1; }
    printf %s "$stdin" | exec ${REFERENCE}/bridge`,
  );
  pod.add(flannel, broken);
  host.write("fault", "");
  const answer = pod.call("DEL", flannel, broken);
  fails(answer, 99, "not now d");
  expect([states(), addresses().length]).toEqual([[pod.containerId], 2]);
  rmSync(host.path("fault"));
  pod.del(flannel, broken);
  expect([states(), addresses()]).toEqual([[], []]);
});

test("a state that upstream's plugin left is enough for DEL, and ours for it", () => {
  const pod = host.pod();
  pod.add(flannel, conf());
  const { flannelAttachment: _, ...upstreams } = state(pod.containerId);
  host.write(`state/${pod.containerId}`, JSON.stringify(upstreams));
  pod.del(flannel, conf());
  expect([states(), addresses()]).toEqual([[], []]);

  const other = host.pod();
  other.add(flannel, conf());
  // upstream's DEL: calls the delegate with the file as it is
  other.del(join(REFERENCE, "bridge"), readFileSync(host.path(`state/${other.containerId}`), "utf8"));
  expect(addresses()).toEqual([]);
});

test("a state that nobody can read does not stop DEL, which says so and frees what it can", () => {
  const pod = host.pod();
  pod.add(flannel, conf());
  host.write(`state/${pod.containerId}`, '{"type":"bri');
  const answer = pod.call("DEL", flannel, conf());
  expect([answer.exitCode, answer.stdout]).toEqual([0, ""]);
  expect(answer.stderr).toContain("holds no configuration and was removed; what it stood for was freed");
  expect([states(), addresses()]).toEqual([[], []]);
});

test("two attachments of one container have a state each", () => {
  const pod = host.pod();
  const second = { ifname: "net1" };
  pod.add(flannel, conf());
  pod.add(flannel, conf({ delegate: { bridge: "cni1" } }), second);
  expect(states()).toEqual([pod.containerId, `${pod.containerId}-net1`]);
  pod.del(flannel, conf(), second);
  pod.del(flannel, conf(), second);
  expect([states(), addresses().length]).toEqual([[pod.containerId], 2]);
  pod.del(flannel, conf());
  expect([states(), addresses()]).toEqual([[], []]);
});

test("CHECK notices an address that is gone, a pod that it does not know, and a result that is missing", () => {
  const pod = host.pod();
  const prevResult = pod.add(flannel, conf());
  pod.run("ip address del 10.5.1.2/24 dev eth0");
  expect(pod.call("CHECK", flannel, conf({ prevResult }))).toMatchObject({ exitCode: 1, stderr: "" });
  fails(pod.call("CHECK", flannel, conf()), 7, "Required prevResult missing");
  fails(host.pod().call("CHECK", flannel, conf({ prevResult })), 3, "cannot check eth0");
  fails(
    pod.call("CHECK", flannel, conf({ cniVersion: "0.3.1", prevResult })),
    1,
    "config version does not allow CHECK",
  );
});

const STATUS: Status = {
  version: "0.1.0",
  pid: process.pid,
  startTime: Number(
    readFileSync("/proc/self/stat", "utf8")
      .replace(/^.*\) /s, "")
      .split(" ")[19],
  ),
  phase: "lease",
  cause: "no subnet of 10.5.0.0/16 is free",
  since: "2026-01-02T03:04:05.000Z",
};

test.each<[string, Partial<Status> | undefined, string]>([
  ["it waits", {}, "flanneld is waiting for a lease: no subnet of 10.5.0.0/16 is free"],
  ["it is gone", { startTime: 1 }, "flanneld is not running"],
  ["it never wrote", undefined, "flanneld has not told how it is"],
])("without subnet.env ADD says what flanneld does, with code 11, and STATUS with code 50: %s", (_, fields, words) => {
  rmSync(host.path("subnet.env"));
  if (fields) host.write("status.json", formatStatus({ ...STATUS, ...fields }));
  const missing = `failed to load flannel 'subnet.env' file: open ${host.path("subnet.env")}: no such file or directory; ${words}`;
  fails(host.pod().call("ADD", flannel, conf()), 11, missing);
  fails(host.call("STATUS", flannel, conf({ cniVersion: "1.1.0" })), 50, missing);
  expect(states()).toEqual([]);
});

test("STATUS: a node that can serve is one whose flanneld runs and whose delegate is there", () => {
  const status = (more = {}) => host.call("STATUS", flannel, conf({ cniVersion: "1.1.0", ...more }));
  expect(status()).toMatchObject({ exitCode: 0, stdout: "", stderr: "" });
  host.write("status.json", formatStatus(STATUS));
  expect(status()).toMatchObject({ exitCode: 0, stdout: "", stderr: "" });
  host.write("status.json", formatStatus({ ...STATUS, startTime: 1 }));
  fails(status(), 50, "flanneld is not running");
  host.write("status.json", formatStatus(STATUS));
  fails(status({ delegate: { type: "absent" } }), 50, 'failed to find plugin "absent" in path');
  plugin("sick", `echo '{"code":51,"msg":"half dead"}'; exit 1`);
  fails(status({ delegate: { type: "sick" } }), 51, "half dead");
  plugin("lame", "echo oops; exit 3");
  fails(status({ delegate: { type: "lame" } }), 50, "failed: exit 3: oops");
  fails(host.call("STATUS", flannel, conf()), 1, "config version does not allow STATUS");
});

test("GC frees what the runtime no longer knows, of this network alone", () => {
  const [kept, second, lost, foreign] = [host.pod(), host.pod(), host.pod(), host.pod()];
  kept.add(flannel, conf());
  second.add(flannel, conf());
  second.add(flannel, conf({ delegate: { bridge: "cni1" } }), { ifname: "net1" });
  lost.add(flannel, conf());
  foreign.add(flannel, conf({ name: "other", delegate: { bridge: "cni2" } }));
  host.write("state/.killed-eth0", '{"ty');
  host.write("state/garbage", '{"ty');
  // A file of upstream's plugin counts as any attachment of its container.
  const { flannelAttachment: _, ...upstreams } = state(kept.containerId);
  host.write(`state/${kept.containerId}`, JSON.stringify(upstreams));
  lost[Symbol.dispose]();
  const valid = [
    { containerID: kept.containerId, ifname: "eth0" },
    { containerID: second.containerId, ifname: "eth0" },
  ];
  const gc = (more: Record<string, unknown>) => host.call("GC", flannel, conf({ cniVersion: "1.1.0", ...more }));
  fails(gc({}), 7, "cni.dev/valid-attachments: missing");
  const answer = gc({ "cni.dev/valid-attachments": valid, "cni.dev/attachments": valid });
  expect([answer.exitCode, answer.stdout, answer.stderr]).toEqual([0, "", ""]);
  expect(states()).toEqual([kept.containerId, second.containerId, foreign.containerId].sort());
  expect([addresses().length, addresses("other").length]).toEqual([4, 2]);
  expect(gc({ "cni.dev/attachments": null })).toMatchObject({ exitCode: 0 });
  expect([states(), addresses()]).toEqual([[foreign.containerId], []]);
});

test("GC goes on after an error, keeps that state, and tells of it", () => {
  const [first, second] = [host.pod(), host.pod()];
  plugin(
    "stuck",
    `[ "$CNI_CONTAINERID" = ${first.containerId} ] && { echo '{"code":7,"msg":"stuck"}'; exit 1; }; echo '{}'`,
  );
  for (const pod of [first, second]) {
    host.namespace.run(`mkdir -p ${host.path("state")}`);
    host.write(`state/${pod.containerId}`, '{"type":"stuck","name":"cbr0"}');
  }
  const stale = conf({ cniVersion: "1.1.0", "cni.dev/valid-attachments": [] });
  fails(host.call("GC", flannel, stale), 7, "stuck");
  expect(states()).toEqual([first.containerId]);
});

test("an ADD that is killed while its delegate works leaves what DEL needs", async () => {
  const pod = host.pod();
  const slow = conf({ delegate: { type: "slow" } });
  plugin(
    "slow",
    `printf %s "$stdin" | ${REFERENCE}/bridge; [ "$CNI_COMMAND" = ADD ] && { kill -9 $PPID; exit 1; }; exit 0`,
  );
  expect((await pod.start("ADD", flannel, slow)).exitCode).toBe(137);
  expect([states(), addresses().length]).toEqual([[pod.containerId], 2]);
  pod.del(flannel, slow);
  expect([states(), addresses(), pod.run("ip -o link show type veth")]).toEqual([[], [], ""]);
});

test.each([
  ["{", 6, "standard input, line 1, column 2"],
  ['{"cniVersion":"1.0.0","type":"flannel"}', 7, "missing network name"],
  ['{"cniVersion":"3.0.0","name":"a"}', 1, 'config is "3.0.0", plugin supports ["0.1.0"'],
  [
    '{"name":"a","delegate":{"name":"b","type":7},"ipam":[]}',
    7,
    "'type' field: got 7; 'delegate' dictionary must not have 'name' field",
  ],
])("a configuration %j is refused with code %d, on standard output alone", (text, code, words) => {
  fails(host.pod().call("ADD", flannel, text), code, words);
});

test("what a runtime leaves out is named, and the host's own namespace is refused", () => {
  const pod = host.pod();
  const without = (...names: string[]) => ({ environment: Object.fromEntries(names.map((name) => [name, undefined])) });
  fails(pod.call("ADD", flannel, conf(), without("CNI_NETNS", "CNI_IFNAME")), 4, "[CNI_NETNS,CNI_IFNAME] missing");
  fails(pod.call("ADD", flannel, conf(), { ifname: "a/b" }), 4, 'CNI_IFNAME: got "a/b"');
  const netns = (path: string) => ({ environment: { CNI_NETNS: path } });
  fails(pod.call("ADD", flannel, conf(), netns(host.namespace.path)), 8, "should not be the same");
  fails(pod.call("DEL", flannel, conf(), netns(host.namespace.path)), 8, "should not be the same");
  fails(pod.call("ADD", flannel, conf(), netns("/var/run/netns/none")), 8, "failed to open netns");
});

test("VERSION answers all versions, and a person without CNI_COMMAND is told what this is", () => {
  const { json, stderr } = host.call("VERSION", flannel, { cniVersion: "1.0.0" });
  expect([json, stderr]).toEqual([{ cniVersion: "1.0.0", supportedVersions: [...VERSIONS] }, ""]);
  const {
    exitCode,
    stdout,
    stderr: words,
  } = host.call("VERSION", flannel, "", {
    environment: { CNI_COMMAND: undefined },
  });
  expect([exitCode, stdout]).toEqual([0, ""]);
  expect(words).toContain("called by a container runtime");
});

test("errors of a delegate come through as they are, and others with what it said", () => {
  const pod = host.pod();
  fails(
    pod.call("ADD", flannel, conf({ delegate: { type: "absent" } })),
    999,
    'failed to find plugin "absent" in path [',
  );
  fails(pod.call("ADD", flannel, conf({ delegate: { type: "../x" } })), 7, "invalid plugin name");
  plugin("mute", "exit 1");
  fails(pod.call("ADD", flannel, conf({ delegate: { type: "mute" } })), 999, "exit 1, without a word");
  plugin("babble", "echo hello; echo world >&2");
  const babble = pod.call("ADD", flannel, conf({ delegate: { type: "babble" } }));
  expect([babble.json.code, babble.stderr]).toEqual([6, "world\n"]);
  plugin("odd", 'echo \'{"ips":[{"address":5}]}\'');
  fails(pod.call("ADD", flannel, conf({ delegate: { type: "odd" } })), 6, "ips[0].address: got 5, want text");
});

test("a bridge with an address of an earlier subnet is an error that says what to do", () => {
  host.namespace.run("ip link add cni0 type bridge; ip address add 10.9.9.1/24 dev cni0");
  const answer = host.pod().call("ADD", flannel, conf());
  fails(answer, 999, "already has an IP address different from");
  expect(answer.json.msg).toContain("ip link delete");
});

test("the delegate is called by the environment that the runtime gave", () => {
  plugin(
    "echo",
    `env | grep ^CNI_ | sort > ${host.path("env")}; printf %s "$stdin" > ${host.path("stdin")}; echo '{}'`,
  );
  const pod = host.pod();
  const own = conf({ cniVersion: "0.4.0", delegate: { type: "echo" }, runtimeConfig: { mac: "02:00:00:00:00:01" } });
  pod.add(flannel, own, { args: "K8S_POD_NAME=a;IgnoreUnknown=1" });
  expect(readFileSync(host.path("env"), "utf8").split("\n")).toEqual([
    "CNI_ARGS=K8S_POD_NAME=a;IgnoreUnknown=1",
    "CNI_COMMAND=ADD",
    `CNI_CONTAINERID=${pod.containerId}`,
    "CNI_IFNAME=eth0",
    `CNI_NETNS=${pod.namespace.path}`,
    `CNI_PATH=${host.plugins}:${REFERENCE}`,
    "",
  ]);
  expect(JSON.parse(readFileSync(host.path("stdin"), "utf8"))).toEqual({
    cniVersion: "0.4.0",
    name: "cbr0",
    type: "echo",
    mtu: 1450,
    ipMasq: false,
    runtimeConfig: { mac: "02:00:00:00:00:01" },
    ipam: {
      type: "host-local",
      dataDir: host.path("ipam"),
      routes: [{ dst: "10.5.0.0/16" }, { dst: "fd00:5::/48" }],
      ranges: [[{ subnet: "10.5.1.0/24" }], [{ subnet: "fd00:5:0:1::/64" }]],
    },
  });
});
