// The benchmark of the data plane does what it says: a short run with the real flanneld, its refusals, and what it leaves behind, which is nothing. No figure
// is asserted, only what must be so on every machine.

import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Received, type RoundTrips, resultOf, type Sent } from "../../bench/throughput/load_result.ts";
import { FLANNELD, Underlay } from "./nodes.ts";
import { until } from "./program.ts";

const ROOT = join(import.meta.dir, "../..");
const LOAD = [process.execPath, join(ROOT, "bench/throughput/load.ts")];
const TIMEOUT_MS = 180_000;

const directory = mkdtempSync(join(tmpdir(), "flannel-throughput-"));
afterAll(() => rmSync(directory, { recursive: true }));

function start(...words: readonly string[]) {
  const command = [process.execPath, "bench/run.ts", "throughput", `--executable=${FLANNELD}`, ...words];
  const { FLANNEL_GO: _, ...env } = process.env;
  return Bun.spawn(command, { cwd: ROOT, env, stdin: "ignore", stdout: "pipe", stderr: "pipe" });
}

async function outcome(child: ReturnType<typeof start>) {
  const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { code, stdout, stderr };
}

/** Namespaces bear the pid of the process that made them. */
function namespacesOf({ pid }: { readonly pid: number }): string[] {
  return readdirSync("/run/netns").filter((name) => name.startsWith(`flannel-test-${pid}-`));
}

interface Row {
  readonly name: string;
  readonly n: number;
  readonly median: number;
}

test(
  "throughput: measures paths in both forms, draws them, and leaves nothing",
  async () => {
    const plots = join(directory, "plots");
    const child = start(
      ...["--runs=1", "--seconds=1", "--paths=underlay,vxlan,vxlan-by-hand,host-gw-by-hand"],
      ...["--measure=tcp1,mix,rr16", `--plots=${plots}`, "--json"],
    );
    const { code, stdout, stderr } = await outcome(child);
    expect(code, stderr).toBe(0);
    const [{ tables }] = JSON.parse(stdout) as [{ tables: { title: string; rows: Row[] }[] }];
    expect(tables.map(({ title }) => title)).toEqual([
      "Throughput, lab: TCP, 1 stream",
      "Throughput, wire: TCP, 1 stream",
      "Throughput, lab: UDP, 16 flows of 64 to 1,400 B mixed, received",
      "Throughput, wire: UDP, 16 flows of 64 to 1,400 B mixed, received",
      "Throughput, lab: UDP round trips, 16 at a time",
      "Throughput, wire: UDP round trips, 16 at a time",
      "Throughput: ratios round by round",
    ]);
    for (const { title, rows } of tables) {
      const named = rows.map(({ name }) => name);
      if (!title.includes("ratios")) {
        expect(named).toEqual(expect.arrayContaining(["underlay", "vxlan", "vxlan-by-hand", "host-gw-by-hand"]));
      }
      for (const { name, n, median } of rows) {
        expect([title, name, n]).toEqual([title, name, 1]);
        const least = expect(median, `${title}: ${name}`);
        // A daemon that has nothing to do with the packets takes no time; nothing need be lost.
        if (name.includes("daemons") || name.includes("lost")) least.toBeGreaterThanOrEqual(0);
        else least.toBeGreaterThan(0);
      }
    }
    expect(readdirSync(plots).sort()).toEqual(["cpu.svg", "round-trips.svg", "tcp.svg", "udp.svg"]);
    expect(namespacesOf(child)).toEqual([]);
  },
  TIMEOUT_MS,
);

test.each([
  ["--paths=vxlan,carrier-pigeon", "got carrier-pigeon"],
  ["--paths=upstream-udp", "need upstream's flanneld in FLANNEL_GO"],
])(
  "throughput: %s is refused before anything is measured",
  async (word, message) => {
    const { code, stderr } = await outcome(start(word));
    expect(code).toBe(2);
    expect(stderr).toContain(message);
  },
  TIMEOUT_MS,
);

test(
  "throughput: a path that does not come about ends the run, by name, and leaves nothing",
  async () => {
    const child = start("--paths=underlay,vxlan", "--executable=/bin/false");
    const { code, stdout, stderr } = await outcome(child);
    expect(code).toBe(1);
    expect(stderr).toContain("cannot set up the path vxlan");
    expect(stdout).not.toContain("Throughput");
    expect(namespacesOf(child)).toEqual([]);
  },
  TIMEOUT_MS,
);

test(
  "throughput: SIGTERM in the middle leaves nothing",
  async () => {
    const child = start("--paths=underlay", "--measure=tcp1", "--seconds=1");
    const error = child.stderr.getReader();
    const decoder = new TextDecoder();
    let said = "";
    while (!said.includes("round 1")) {
      const { done, value } = await error.read();
      if (done) throw new Error(`it ended: ${said}`);
      said += decoder.decode(value, { stream: true });
    }
    expect(namespacesOf(child)).not.toEqual([]);
    child.kill("SIGTERM");
    expect(await child.exited).toBe(130);
    expect(namespacesOf(child)).toEqual([]);
  },
  TIMEOUT_MS,
);

test(
  "load: sixteen flows of mixed sizes arrive as sixteen flows of mixed sizes, and are counted",
  async () => {
    await using underlay = await Underlay.open({ nodes: 2, families: ["ipv4"], config: undefined });
    const [from, to] = [underlay.node(1), underlay.node(2)];
    to.run(`
      nft add table ip load
      nft add set ip load flows '{ type inet_service; flags dynamic; }'
      nft add set ip load lengths '{ typeof ip length; flags dynamic; }'
      nft add chain ip load input '{ type filter hook input priority 0; }'
      nft add rule ip load input udp dport 5301-5316 add @flows '{ udp dport }' add @lengths '{ ip length }' counter`);
    const receiver = to.spawn([...LOAD, "receive"]);
    await receiver.says(/ready/);
    const sender = from.spawn([...LOAD, "send", to.address.ipv4, "0.2", "16", "64", "1400"]);
    expect(await sender.exit(), sender.output).toBe(0);
    expect(await receiver.exit(), receiver.output).toBe(0);
    const { packets: sent } = resultOf<Sent>(sender.output);
    const { packets, seconds } = resultOf<Received>(receiver.output);
    const reached = Number(/counter packets (\d+)/.exec(to.run("nft list chain ip load input"))?.[1]);
    // A queue of the kernel, or the socket's, may be full.
    expect(reached).toBeLessThanOrEqual(sent);
    expect(packets).toBeLessThanOrEqual(reached);
    expect(packets).toBeGreaterThan(1_000);
    expect(seconds).toBeGreaterThan(0);
    const elements = (set: string): number[] => {
      const { nftables } = JSON.parse(to.run(`nft -j list set ip load ${set}`));
      return nftables[1].set.elem;
    };
    expect(elements("flows")).toHaveLength(16);
    const lengths = elements("lengths");
    expect(lengths.length).toBeGreaterThan(500);
    // IPv4 and UDP headers are 28 bytes.
    expect(Math.min(...lengths)).toBeGreaterThanOrEqual(64 + 28);
    expect(Math.max(...lengths)).toBeLessThanOrEqual(1_400 + 28);
  },
  TIMEOUT_MS,
);

test(
  "load: as many questions are under way as asked for, and lost ones are asked again",
  async () => {
    await using underlay = await Underlay.open({ nodes: 2, families: ["ipv4"], config: undefined });
    const [from, to] = [underlay.node(1), underlay.node(2)];
    const answerer = to.spawn([...LOAD, "answer"]);
    await answerer.says(/ready/);
    const asker = from.spawn([...LOAD, "ask", to.address.ipv4, "3", "4"]);
    await until("answers", () => counted(from.run("ip -s -j link show dev eth0")) > 100, asker);
    underlay.cut("p2");
    await Bun.sleep(400);
    underlay.heal("p2");
    expect(await asker.exit(), asker.output).toBe(0);
    const { trips, lost } = resultOf<RoundTrips>(asker.output);
    expect(trips).toBeGreaterThan(100);
    expect(lost).toBeGreaterThan(0);
    expect(lost % 4).toBe(0);
  },
  TIMEOUT_MS,
);

function counted(json: string): number {
  const [link] = JSON.parse(json) as [{ stats64: { rx: { packets: number } } }];
  return link.stats64.rx.packets;
}
