// `flannelctl lab demo`: what flannel does, shown live on three nodes. Every phase says what it expects and checks
// it, also that the matrix can turn red: a demonstration that cannot fail proves nothing.

import { setTimeout as sleep } from "node:timers/promises";
import { line, paint, type Terminal } from "../terminal.ts";
import { leaseLines, orRemove, standUp } from "./commands.ts";
import type { Lab, LabNode, LabOptions } from "./layout.ts";
import { printMatrix } from "./matrix.ts";
import {
  absenceMs,
  INTERVAL_MS,
  outageOf,
  parseLinkEvents,
  parseReplies,
  until,
  watchLinks,
  watchPing,
} from "./outage.ts";
import { type Endpoint, isComplete, pingAllPairs } from "./ping.ts";
import { Progress } from "./progress.ts";
import { removeLab } from "./remove.ts";
import { LAB_TOOLS, requireTools } from "./requirements.ts";
import { ipBatch, run } from "./run.ts";
import { endpointsOf } from "./state.ts";
import { readLeases } from "./store.ts";
import { blockVxlan, unblockVxlan } from "./topology.ts";

/** Packets of one ping. */
const COUNT = 3;
/** How long the ping runs before the device is deleted and after it works again, to show that all is quiet. */
const QUIET_MS = 400;
/** By then a repair counts as not happening. */
const REPAIR_TIMEOUT_MS = 15_000;
const VXLAN_LINK = "flannel.1";

class Story {
  readonly terminal: Terminal;
  #number = 0;
  failures = 0;

  constructor(terminal: Terminal) {
    this.terminal = terminal;
  }

  /** A phase, and the command that shows or does the same. */
  phase(text: string, command: string): void {
    line(this.terminal);
    line(this.terminal, paint(this.terminal, "bold", `${++this.#number}. ${text}`));
    line(this.terminal, paint(this.terminal, "dim", `   $ ${command}`));
  }

  expect(ok: boolean, text: string): void {
    if (!ok) this.failures++;
    const mark = ok
      ? paint(this.terminal, "green", "✓ as expected:")
      : paint(this.terminal, "red", "✗ NOT as expected:");
    line(this.terminal, `${mark} ${text}`);
  }
}

export async function demo(
  name: string,
  flanneld: string | undefined,
  out: Terminal,
  signal: AbortSignal,
): Promise<number> {
  requireTools([...LAB_TOOLS, "tc"]);
  const story = new Story(out);
  const linksBefore = await hostLinks();
  const options: LabOptions = { name, nodes: 3, pods: 1, families: ["ipv4", "ipv6"], backend: "vxlan" };

  story.phase("Three nodes, each a network namespace with a flanneld", `flannelctl lab up --ipv6 --name ${name}`);
  const progress = new Progress(out);
  const { lab, state } = await standUp(options, flanneld, progress, signal);
  progress.end();
  await orRemove(name, async () => {
    const pods = endpointsOf(lab, state.pods);
    await showLeases(lab, story, signal);
    await showMatrix("Every pod pings every other, over IPv4 and IPv6", lab, pods, story, signal);
    await deleteDevice(lab, pods, story, signal);
    await showMatrix("After the repair all pairs reach each other", lab, pods, story, signal);
    await block(lab, pods, story, signal);
    await unblockVxlan(lab);
    await showMatrix("vxlan passes again", lab, pods, story, signal);
  });
  await takeAway(name, linksBefore, story);

  line(out);
  const text = story.failures === 0 ? "all phases as expected" : `${story.failures} expectations were not met`;
  line(out, paint(out, story.failures === 0 ? "green" : "red", text));
  return story.failures === 0 ? 0 : 1;
}

async function showLeases(lab: Lab, story: Story, signal: AbortSignal): Promise<void> {
  story.phase("Each node leased a subnet of the network", `flannelctl lab status --name ${lab.options.name}`);
  const leases = await readLeases(lab, signal);
  for (const text of leaseLines(leases)) line(story.terminal, text);
  const nodes = new Set(leases.map((lease) => lease.node));
  story.expect(nodes.size === lab.nodes.length && leases.length === nodes.size, "one lease for each node");
}

async function showMatrix(
  title: string,
  lab: Lab,
  pods: readonly Endpoint[],
  story: Story,
  signal: AbortSignal,
): Promise<void> {
  story.phase(title, pingCommand(lab));
  const { ok } = printMatrix(await pingAllPairs(pods, COUNT, signal), story.terminal);
  story.expect(ok, "all pairs reach each other");
}

function pingCommand(lab: Lab): string {
  return `flannelctl lab ping --name ${lab.options.name}`;
}

/** Deletes the vxlan device of the second node while the first node's pod pings the second's. */
async function deleteDevice(lab: Lab, pods: readonly Endpoint[], story: Story, signal: AbortSignal): Promise<void> {
  const [from, to] = pods;
  const node = lab.nodes[1];
  const address = to?.address.ipv4;
  if (!from || !to || !node || !address) throw new Error("the demo needs two nodes with an IPv4 pod each");
  story.phase(
    `${VXLAN_LINK} of ${node.name} is deleted by hand while ${from.name} pings ${to.name}`,
    `ip -n ${node.namespace} link delete ${VXLAN_LINK}`,
  );
  const links = watchLinks(node.namespace, signal);
  const ping = watchPing(from, address, signal);
  await sleep(QUIET_MS);
  const before = parseReplies(ping.output).length;
  await ipBatch(node.namespace, [`link delete ${VXLAN_LINK}`], signal);
  const deletedAt = Date.now() / 1000;
  const back = () => absenceMs(parseLinkEvents(links.output, VXLAN_LINK)) !== undefined;
  const answered = () => (parseReplies(ping.output).at(-1)?.at ?? 0) > deletedAt;
  await until(() => back() && answered(), REPAIR_TIMEOUT_MS, signal);
  await sleep(QUIET_MS);
  const absence = absenceMs(parseLinkEvents(await links.stop(), VXLAN_LINK));
  const replies = parseReplies(await ping.stop());
  const { lost, sent, silenceMs } = outageOf(replies);
  const resumed = replies.some((reply) => reply.at > deletedAt);
  story.expect(before > 0, `before, ${to.name} answered every packet (one each ${INTERVAL_MS} ms)`);
  story.expect(
    absence !== undefined,
    absence === undefined
      ? `${VXLAN_LINK} did not come back within ${REPAIR_TIMEOUT_MS / 1000} s`
      : `${VXLAN_LINK} was up again after ${absence.toFixed(1)} ms (ip monitor)`,
  );
  story.expect(
    resumed,
    resumed
      ? `${to.name} answered again after ${silenceMs.toFixed(0)} ms of silence; ${lost} of ${sent} packets lost (ping)`
      : `${to.name} did not answer again within ${REPAIR_TIMEOUT_MS / 1000} s`,
  );
}

async function block(lab: Lab, pods: readonly Endpoint[], story: Story, signal: AbortSignal): Promise<void> {
  story.phase(
    "The switch drops vxlan (UDP port 8472): the same matrix has to turn red",
    `tc -n ${lab.switchNamespace} filter show dev ${lab.nodes[0]?.port}; ${pingCommand(lab)}`,
  );
  await blockVxlan(lab);
  const pairs = await pingAllPairs(pods, COUNT, signal);
  printMatrix(pairs, story.terminal);
  story.expect(
    pairs.every((pair) => pair.received === 0),
    "no pair reaches the other",
  );
  const [first, second] = lab.nodes.map(underlayEndpoint);
  const underlay = first && second ? await pingAllPairs([first, second], COUNT, signal) : [];
  story.expect(underlay.length > 0 && underlay.every(isComplete), "the nodes themselves still reach each other");
}

function underlayEndpoint({ name, namespace, address }: LabNode): Endpoint {
  return { name, namespace, address };
}

async function takeAway(name: string, linksBefore: ReadonlySet<string>, story: Story): Promise<void> {
  story.phase("Everything is removed", `flannelctl lab down --name ${name}; ip netns list; ip link`);
  const { processes, namespaces, left } = await removeLab(name);
  line(story.terminal, `processes ended: ${processes}, network namespaces removed: ${namespaces}`);
  // A flanneld that leaves its namespace would make its links in the host's.
  const strays = [...(await hostLinks())].filter((link) => LAB_LINK.test(link) && !linksBefore.has(link));
  for (const text of [...left, ...strays.map((link) => `link ${link}`)]) line(story.terminal, `  ${text}`);
  story.expect(left.length + strays.length === 0, "nothing is left: no namespace, link, process, mount or file");
}

/** Names of links that a lab has in its namespaces. */
const LAB_LINK = /^(flannel|cni|br0$|veth\d|p\d)/;

async function hostLinks(): Promise<ReadonlySet<string>> {
  const { stdout } = await run(["ip", "-json", "link", "show"]);
  return new Set((JSON.parse(stdout || "[]") as { ifname: string }[]).map((link) => link.ifname));
}
