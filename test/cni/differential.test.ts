// The built-in bridge and host-local beside Debian's, which are the reference: the same configuration on two nodes, and afterwards the same answer, links,
// addresses, routes, ports, rules and files, with only names and MACs that are chance taken out. Two hundred configurations, each with one to three pods.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Generated, generate } from "./generated.ts";
import { type Answer, Host, type Json, type Pod, REFERENCE } from "./runtime.ts";

const CONFIGURATIONS = 200;
const TOGETHER = 20;

interface Side {
  readonly host: Host;
  /** Directory of the plugins. */
  readonly plugins: string;
  readonly files: string;
}

let sides: readonly [Side, Side];

beforeAll(() => {
  const [reference, ours] = [new Host(), new Host()];
  sides = [
    { host: reference, plugins: REFERENCE, files: reference.path("addresses") },
    { host: ours, plugins: ours.ours, files: ours.path("addresses") },
  ];
});

afterAll(() => {
  for (const { host } of sides) host[Symbol.dispose]();
});

const starts = Array.from({ length: CONFIGURATIONS / TOGETHER }, (_, i) => 1 + i * TOGETHER);

test.each(starts)("ADD and DEL leave what the reference leaves: configurations from %i", async (start) => {
  let served = 0;
  for (let seed = start; seed < start + TOGETHER; seed++) {
    const [reference, ours] = await Promise.all(sides.map((side) => run(side, seed)));
    if (ours.seen[0].exitCode === 0) served++;
    expect({ seed, ...ours }).toEqual({ seed, ...(reference as object) });
  }
  // Refusals that are alike would prove little.
  expect(served).toBeGreaterThan(TOGETHER * 0.5);
});

/** All that can be seen after each step. */
async function run(side: Side, seed: number): Promise<Json> {
  const bridge = `br${seed}`;
  const generated = generate(seed, side.files, bridge);
  const pods = Array.from({ length: generated.pods }, () => side.host.pod());
  const seen: Json[] = [];
  let refused = false;
  const step = async (verb: "ADD" | "DEL", pod: Pod) => {
    const options = { path: [side.plugins], ...(generated.args !== undefined && { args: generated.args }) };
    const answer = await pod.start(verb, join(side.plugins, "bridge"), generated.conf, options);
    refused ||= answer.exitCode !== 0;
    const files = filesOf(side.files, generated.conf.name);
    // What was refused leaves a bridge and the place reached in the range with the reference, and nothing with ours: then only what is taken is compared.
    const rest = refused
      ? { code: answer.json?.code, taken: Object.keys(files).filter((name) => /^[0-9a-f]+[.:]/.test(name)) }
      : { files, ...(await picture(side, generated, answer, pods)) };
    seen.push({ verb, exitCode: answer.exitCode, ...rest });
    return !refused;
  };
  try {
    for (const pod of pods) if (!(await step("ADD", pod))) break;
    for (const pod of pods) await step("DEL", pod);
    return { conf: generalised(generated.conf, side), seen };
  } finally {
    for (const pod of pods) pod[Symbol.dispose]();
    Bun.spawnSync(["ip", "-n", side.host.namespace.name, "link", "delete", bridge]);
  }
}

async function picture(side: Side, { conf }: Generated, answer: Answer, pods: readonly Pod[]): Promise<Json> {
  const [host, inside] = await Promise.all([
    stateOf(side.host.namespace.name, conf.bridge, conf.ipMasq === true),
    Promise.all(pods.map((pod) => stateOf(pod.namespace.name, "eth0", false))),
  ]);
  let text = JSON.stringify({ stdout: answer.stdout, host, inside });
  for (const [i, pod] of pods.entries()) text = text.replaceAll(pod.namespace.path, `NETNS${i}`);
  return JSON.parse(withoutChance(text));
}

/** Each MAC, each name of a host's end, and each link-local address becomes the number of its first appearance. */
function withoutChance(text: string): string {
  const known = new Map<string, string>();
  return text
    .replaceAll(/\bfe80::[0-9a-f:]+/g, "LINK-LOCAL")
    .replaceAll(/\bveth[0-9a-f]{1,8}\b|\b[0-9a-f]{2}(:[0-9a-f]{2}){5}\b/g, (found) => {
      if (found === "ff:ff:ff:ff:ff:ff" || found === "00:00:00:00:00:00" || found.startsWith("01:80:c2")) return found;
      const token = known.get(found) ?? `CHANCE${known.size}`;
      known.set(found, token);
      return token;
    });
}

const IP_BATCH = (device: string) =>
  `link show dev ${device}\naddress show\nroute show table main\n-6 route show table main\nroute show table local\n`;
/** Counters, timers, ids, and what duplicate address detection is at just now. */
const LEFT_OUT = [
  ...["ifindex", "link_index", "link_netnsid", "link_netns", "tentative", "bridge_id", "root_id", "designated_root"],
  ...["designated_bridge", "hello_timer", "gc_timer", "tcn_timer", "topology_change_timer", "forward_delay_timer"],
  ...["hold_timer", "message_age_timer", "port_no", "port_id", "no", "id", "designated_port"],
];

async function stateOf(namespace: string, device: string, rules: boolean): Promise<Json> {
  const within = ["nsenter", `--net=/var/run/netns/${namespace}`];
  const outputs = await Promise.all([
    output([...within, "ip", "-d", "-j", "-force", "-batch", "-"], IP_BATCH(device)),
    output([...within, "bridge", "-d", "-j", "link"]),
    ...(rules ? ["iptables-save", "ip6tables-save"].map((program) => output([...within, program])) : []),
  ]);
  const [ip = "", ports = "", ...saved] = outputs;
  const json = (text: string) => text.split("\n").flatMap((line) => (line.startsWith("[") ? [JSON.parse(line)] : []));
  return {
    ip: json(ip.replaceAll(/\]\s*\[/g, "]\n[")).map(stripped),
    ports: json(ports).map(stripped),
    rules: saved.map((text) => text.split("\n").filter((line) => !line.startsWith("#") && !line.startsWith(":"))),
  };
}

/** Bridges of other configurations are gone by then; what is left has none of LEFT_OUT. */
function stripped(value: Json): Json {
  if (Array.isArray(value))
    return value.map(stripped).filter((one) => Object.keys(one ?? {}).length !== 0 || typeof one !== "object");
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, one]) => (LEFT_OUT.includes(key) ? [] : [[key, stripped(one)]])),
  );
}

async function output(command: readonly string[], stdin = ""): Promise<string> {
  const child = Bun.spawn([...command], { stdin: Buffer.from(stdin), stdout: "pipe", stderr: "ignore" });
  return await new Response(child.stdout).text();
}

/** Name → content. */
function filesOf(directory: string, network: string): Json {
  try {
    const names = readdirSync(join(directory, network)).sort();
    return Object.fromEntries(names.map((name) => [name, readFileSync(join(directory, network, name), "utf8")]));
  } catch {
    return {};
  }
}

function generalised(conf: Json, side: Side): Json {
  return JSON.parse(JSON.stringify(conf).replaceAll(side.files, "FILES"));
}
