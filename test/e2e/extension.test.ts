// A network made by commands of the configuration, by the very examples of docs/extension.md: vxlan by ip and bridge, host-gw by ip route. Each command leaves
// a line in a file, so that a test can tell that none has run.

import { expect, test } from "bun:test";
import { existsSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { becomes } from "./becomes.ts";
import { FLANNELD, NETWORK, type Node, Underlay } from "./nodes.ts";
import { until } from "./program.ts";
import { LATE, leaseKey } from "./store.ts";
import { PingStream } from "./traffic.ts";

/** A command that leaves a line when it runs. */
const noted = (name: string, text: string) => `echo "${name} $SUBNET" >> "$NOTES"; ${text}`;

const NAMES: Readonly<Record<string, string>> = {
  PreStartupCommand: "pre",
  PostStartupCommand: "post",
  SubnetAddCommand: "add",
  SubnetRemoveCommand: "remove",
};

interface Example {
  readonly Network: string;
  readonly Backend: Readonly<Record<string, string>>;
}

/** The configurations that docs/extension.md shows. */
function examples(): Example[] {
  const text = readFileSync(join(import.meta.dir, "../../docs/extension.md"), "utf8");
  return [...text.matchAll(/```json\n([\s\S]*?)```/g)].map(([, json = ""]) => {
    const { Network, Backend } = JSON.parse(json) as Example;
    const commands = Object.entries(Backend).map(([option, value]) => {
      const name = NAMES[option];
      return [option, name === undefined ? value : noted(name, value)];
    });
    return { Network, Backend: Object.fromEntries(commands) };
  });
}

const [HOST_GW, VXLAN] = examples() as [Example, Example];

/** /sys of the node's own network namespace, which commands look into. */
const OWN_SYS = ["unshare", "--mount", "sh", "-c", 'mount -t sysfs sysfs /sys && exec "$0" "$@"'];

const notesFile = (node: Node) => join(node.directory, "notes");
const start = (node: Node, flags: readonly string[] = []) =>
  node.flanneld({ flags, under: OWN_SYS, environment: { NOTES: notesFile(node) } });

function notes(node: Node): string[] {
  return existsSync(notesFile(node)) ? readFileSync(notesFile(node), "utf8").trim().split("\n") : [];
}

/** Subnets that the node's routes lead to. */
function routed(node: Node, via: string): string[] {
  const lines = node.run("ip route show").split("\n");
  return lines
    .filter((line) => line.startsWith("10.5.") && line.includes(via))
    .map((line) => line.split(" ")[0] ?? "")
    .sort();
}

const othersOf = (node: Node, nodes: readonly Node[]) =>
  nodes
    .filter((each) => each !== node)
    .map((each) => each.subnet())
    .sort();

async function connected(nodes: readonly Node[], via: string): Promise<void> {
  for (const node of nodes) await becomes(() => routed(node, via), othersOf(node, nodes));
}

test("extension: vxlan by commands joins three nodes; a restart runs nothing and loses no packet; nodes come, leave, and leave while flanneld is down", async () => {
  await using underlay = await Underlay.open({ nodes: 4, families: ["ipv4"], config: VXLAN });
  const three = underlay.nodes.slice(0, 3);
  const [one, two, third, fourth] = underlay.nodes as [Node, Node, Node, Node];
  const daemons = await Promise.all(three.map((node) => start(node).ready()));
  await connected(three, "dev flannel-x");
  for (const from of three) for (const to of three) expect(await from.ping(to.overlay())).toBe(3);
  expect(one.subnetEnv).toMatchObject({ FLANNEL_MTU: "1500", FLANNEL_NETWORK: "10.5.0.0/16" });
  const { value } = await underlay.store.entry(leaseKey(one.subnet()));
  expect(JSON.parse(value)).toMatchObject({ BackendType: "extension", BackendData: one.link("flannel-x")?.mac });

  const [before, link] = [notes(one), one.link("flannel-x")];
  expect(before.map((line) => line.split(" ")[0])).toEqual(["pre", "post", "add", "add"]);
  const stream = await PingStream.start(one, two.overlay());
  expect(await daemons[0]?.stop()).toBe(0);
  daemons[0] = await start(one).ready();
  expect(await stream.stop()).toBe(0);
  expect([notes(one), one.link("flannel-x")]).toEqual([before, link]);

  const joined = await start(fourth).ready();
  await connected(underlay.nodes, "dev flannel-x");
  expect(await one.ping(fourth.overlay())).toBe(3);

  // One leaves while all watch, one while nobody does.
  await joined.stop();
  await underlay.store.remove(leaseKey(fourth.subnet()));
  await connected(three, "dev flannel-x");
  await daemons[0].stop();
  await daemons[2]?.stop();
  await underlay.store.remove(leaseKey(third.subnet()));
  daemons[0] = await start(one).ready();
  await becomes(() => routed(one, "dev flannel-x"), [two.subnet()]);
  expect(
    notes(one)
      .filter((line) => line.startsWith("remove"))
      .sort(),
  ).toEqual([fourth, third].map((node) => `remove ${node.subnet()}`).sort());
  expect(one.run("bridge fdb show dev flannel-x; ip neigh show dev flannel-x")).not.toContain(third.address.ipv4);
  expect(await one.ping(two.overlay())).toBe(3);

  // A node that is made anew has another device: its peers hear of the new MAC.
  await daemons[1]?.stop();
  two.run(`rm ${join(two.directory, "run")}/*`);
  daemons[1] = await start(two).ready();
  await until("all commands anew", () => notes(two).at(-1)?.startsWith("add "), daemons[1]);
  const mac = two.link("flannel-x")?.mac ?? "none";
  await until("the new MAC", () => one.run("ip neigh show dev flannel-x").includes(mac), daemons[0]);
  await until("an answer", async () => (await one.ping(two.overlay())) === 3);
}, 120_000);

test("extension: host-gw by commands; another backend in the configuration takes away what they did", async () => {
  await using underlay = await Underlay.open({ nodes: 3, families: ["ipv4"], config: HOST_GW });
  const daemons = await Promise.all(underlay.nodes.map((node) => start(node).ready()));
  await connected(underlay.nodes, "via 192.168.77.");
  const one = underlay.node(1);
  expect(statSync(join(dirname(one.subnetFile), "commands.json")).mode & 0o777).toBe(0o600);
  for (const daemon of daemons) await daemon.stop();
  await underlay.store.configure(NETWORK);
  for (const key of await underlay.store.keys()) if (key !== leaseKey(one.subnet())) await underlay.store.remove(key);
  await start(one).ready();
  await becomes(() => routed(one, "via 192.168.77."), []);
  expect(notes(one).filter((line) => line.startsWith("remove"))).toHaveLength(2);
});

test("extension: dual stack", async () => {
  const command = (verb: string) =>
    `ip route ${verb} "$SUBNET" via "$PUBLIC_IP" && ip -6 route ${verb} "$IPV6SUBNET" via "$PUBLIC_IPV6"`;
  const Backend = { Type: "extension", SubnetAddCommand: command("add"), SubnetRemoveCommand: command("del") };
  const config = { ...NETWORK, EnableIPv6: true, IPv6Network: "fd00:5::/48", Backend };
  await using underlay = await Underlay.open({ nodes: 2, config });
  const [, second] = await Promise.all(underlay.nodes.map((node) => start(node).ready()));
  const [one, two] = underlay.nodes as [Node, Node];
  await becomes(
    () => one.run("ip -6 route show").includes(`${two.subnet("ipv6")} via ${two.address.ipv6} dev eth0`),
    true,
  );
  await connected(underlay.nodes, "via 192.168.77.");
  const key = (await underlay.store.keys()).find((each) => each.startsWith(leaseKey(two.subnet())));
  await second?.stop();
  await underlay.store.remove(key ?? "none");
  await becomes(() => one.run("ip route show; ip -6 route show").includes(" via 192.168.77.2 "), false);
  await becomes(() => one.run("ip -6 route show").includes(two.subnet("ipv6")), false);
});

test("extension: what another node writes reaches commands as data, whatever it is", async () => {
  const Backend = {
    Type: "extension",
    SubnetAddCommand: 'cat > "$NOTES.$(echo "$SUBNET" | tr / -)"; ip route add "$SUBNET" via "$PUBLIC_IP"',
  };
  await using underlay = await Underlay.open({
    nodes: 1,
    families: ["ipv4"],
    config: { ...NETWORK, Backend },
    only: "embedded",
  });
  const node = underlay.node(1);
  const proof = join(underlay.directory, "proof");
  const hostile = [
    `"; touch ${proof}; echo "`,
    `'; touch ${proof}; echo '`,
    `$(touch ${proof}) \`touch ${proof}\``,
    `a\ntouch ${proof}\n\u0000\u001b[31m`,
    `$(touch ${proof});`.repeat(Math.floor(15_000 / (proof.length + 10))),
  ];
  const publicIp = (i: number) => `192.168.77.${100 + i}`;
  for (const [i, BackendData] of hostile.entries()) {
    await underlay.store.put(`10.5.${LATE + i}.0-24`, { PublicIP: publicIp(i), BackendType: "extension", BackendData });
  }
  // And these are no data at all: refused, with the others untouched.
  const key = (i: number) => `10.5.${LATE + 20 + i}.0-24`;
  await underlay.store.put(key(0), { PublicIP: "192.168.77.120; reboot", BackendType: "extension", BackendData: "x" });
  await underlay.store.put(key(1), { PublicIP: "192.168.77.121", BackendType: "extension", BackendData: { $: "x" } });
  const flanneld = await start(node).ready();
  const subnets = hostile.map((_, i) => `10.5.${LATE + i}.0/24`);
  await becomes(() => routed(node, "via 192.168.77."), subnets);
  for (const [i, data] of hostile.entries()) {
    expect(readFileSync(`${notesFile(node)}.${leaseKey(`10.5.${LATE + i}.0/24`)}`, "utf8")).toBe(`${data}\n`);
  }
  expect(existsSync(proof)).toBe(false);
  await until("the refusals", () => flanneld.status?.refused === 2, flanneld);
  expect(flanneld.output).not.toContain("\u001b");
});

test.each([
  ["PreStartupCommand", "cannot run PreStartupCommand: exit code 3: no such device"],
  ["PostStartupCommand", "cannot run PostStartupCommand: exit code 3: no such device"],
])("extension: a first start whose %s fails ends, and says why", async (option, message) => {
  const Backend = { ...HOST_GW.Backend, [option]: "echo no such device >&2; exit 3" };
  await using underlay = await Underlay.open({ nodes: 1, families: ["ipv4"], config: { ...HOST_GW, Backend } });
  const node = underlay.node(1);
  await underlay.store.put(`10.5.${LATE}.0-24`, {
    PublicIP: "192.168.77.99",
    BackendType: "extension",
    BackendData: "",
  });
  const flanneld = start(node);
  expect(await flanneld.exit()).toBe(1);
  expect(flanneld.output).toContain(message);
  expect(flanneld.status).toMatchObject({ phase: "failed", cause: expect.stringContaining(message) });
  expect([notes(node), existsSync(node.subnetFile)]).toEqual([[], false]);
});

test("extension: a command that fails is tried again, and told once; ShutdownCommand is said to have no effect", async () => {
  const Backend = { ...HOST_GW.Backend, ShutdownCommand: "ip link del x" };
  await using underlay = await Underlay.open({ nodes: 1, families: ["ipv4"], config: { ...HOST_GW, Backend } });
  const node = underlay.node(1);
  await underlay.store.put(`10.5.${LATE}.0-24`, {
    PublicIP: "192.168.78.1",
    BackendType: "extension",
    BackendData: "",
  });
  const route = `10.5.${LATE}.0/24`;
  const flanneld = await start(node).ready();
  await flanneld.says(new RegExp(`cannot run SubnetAddCommand for ${route}: exit code 2: .*gateway`));
  await until("it counts", () => flanneld.status?.failing === 1, flanneld);
  node.run("ip address add 192.168.78.254/24 dev eth0");
  await becomes(() => routed(node, "via 192.168.78.1"), [route]);
  await until("it no longer counts", () => flanneld.status?.failing === 0, flanneld);
  expect(flanneld.lines(/cannot run SubnetAddCommand/)).toHaveLength(1);
  expect(flanneld.lines(/^W.*Backend\.ShutdownCommand has no effect: flannel never ran it/)).toHaveLength(1);
});

test("flannelctl plan: shows an extension's commands and runs none", async () => {
  const Backend = { ...HOST_GW.Backend, PreStartupCommand: noted("pre", "echo data") };
  await using underlay = await Underlay.open({
    nodes: 1,
    families: ["ipv4"],
    config: { ...HOST_GW, Backend },
    only: "embedded",
  });
  const node = underlay.node(1);
  const put = (n: number) =>
    underlay.store.put(`10.5.${n}.0-24`, {
      PublicIP: `192.168.77.${n}`,
      BackendType: "extension",
      BackendData: "it's",
    });
  await put(LATE);
  const flannelctl = join(dirname(FLANNELD), "flannelctl");
  const plan = () =>
    node.run(
      `${flannelctl} plan -- --store-file=${underlay.storeFile} --subnet-file=${node.subnetFile} --iptables-forward-rules=false`,
    );
  const command = (n: number, verb: string) =>
    `SUBNET='10.5.${n}.0/24' IPV6SUBNET='' PUBLIC_IP='192.168.77.${n}' PUBLIC_IPV6='' sh -c '${noted(verb, verb === "add" ? "ip route replace" : "ip route del")}`;
  expect(plan()).toContain(`printf '%s\\n' 'it'\\''s' | NETWORK='10.5.0.0/16' IPV6NETWORK='' ${command(LATE, "add")}`);
  expect([notes(node), existsSync(dirname(node.subnetFile))]).toEqual([[], false]);
  const flanneld = await start(node, ["--iptables-forward-rules=false"]).ready();
  await becomes(() => routed(node, "via 192.168.77."), [`10.5.${LATE}.0/24`]);
  expect(plan()).toContain("# nothing to do: 1 objects stand as wanted");
  await flanneld.stop();
  const before = notes(node);
  await underlay.store.remove(`10.5.${LATE}.0-24`);
  await put(LATE + 1);
  const printed = plan();
  expect(printed).toContain(command(LATE + 1, "add"));
  expect(printed).toContain(command(LATE, "remove"));
  expect(notes(node)).toEqual(before);
});

test("alloc: a lease and nothing else; who else has one is of no interest", async () => {
  const config = { ...NETWORK, Backend: { Type: "alloc" } };
  await using underlay = await Underlay.open({ nodes: 2, families: ["ipv4"], config });
  const [one, two] = underlay.nodes as [Node, Node];
  await underlay.store.put(`10.5.${LATE}.0-24`, { PublicIP: "192.168.77.99", BackendType: "vxlan", BackendData: {} });
  const links = one.run("ip -br link");
  const routes = one.run("ip route show");
  // Without a single object to make it must become ready too.
  const flags = ["--iptables-forward-rules=false"];
  const daemons = await Promise.all([one, two].map((node) => node.flanneld({ flags }).ready()));
  await until("both peers", () => daemons[0]?.status?.peers === 2, daemons[0]);
  expect(daemons[0]?.status).toMatchObject({ refused: 0, backend: "alloc", mtu: 1500 });
  expect(daemons[0]?.lines(/^[EW]/)).toEqual([]);
  expect([one.run("ip -br link"), one.run("ip route show")]).toEqual([links, routes]);
  const { value } = await underlay.store.entry(leaseKey(one.subnet()));
  expect(JSON.parse(value)).toEqual({ PublicIP: "192.168.77.1", PublicIPv6: null });
  expect(one.subnetEnv.FLANNEL_MTU).toBe("1500");
});
