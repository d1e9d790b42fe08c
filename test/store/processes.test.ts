// The embedded store as several processes use it: real ones, racing, dying, and finding the file locked or replaced.

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseLeaseKey } from "../../src/lease/key.ts";
import { haveRivals } from "../../src/subnet/allocation.ts";
import { openRegistry } from "../../src/subnet/open.ts";
import type { Registry } from "../../src/subnet/registry.ts";
import type { NodeOptions, NodeReport } from "./node.ts";
import { collect, describeChange } from "./registry_contract.ts";

const DAY_MS = 24 * 60 * 60 * 1000;
const BACKEND = '"Backend":{"Type":"vxlan"}';
const NETWORK = `{"Network":"10.5.0.0/16",${BACKEND}}`;
const VALUE = '{"PublicIP":"198.51.100.1"}';

let directory = "";
let path = "";
let controller = new AbortController();
let signal = controller.signal;
const opened: Disposable[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "flannel-processes-"));
  path = join(directory, "store.db");
  controller = new AbortController();
  signal = controller.signal;
});

afterEach(async () => {
  controller.abort();
  for (const each of opened.splice(0).reverse()) each[Symbol.dispose]();
  rmSync(directory, { recursive: true, force: true });
});

async function registry(): Promise<Registry> {
  const made = await openRegistry({ kind: "embedded", path }, signal);
  opened.push(made);
  return made;
}

/** Starts a process that ends with the test at the latest, and gathers the lines it prints. */
function spawn<T>(script: string[]) {
  const child = Bun.spawn([process.execPath, ...script], { stdout: "pipe", stderr: "inherit", stdin: "ignore" });
  opened.push({ [Symbol.dispose]: () => child.kill("SIGKILL") });
  const lines: T[] = [];
  let wake = () => {};
  const reading = (async () => {
    let rest = "";
    const decoder = new TextDecoder();
    for await (const bytes of child.stdout) {
      const parts = (rest + decoder.decode(bytes, { stream: true })).split("\n");
      rest = parts.pop() ?? "";
      for (const part of parts) lines.push(JSON.parse(part) as T);
      wake();
    }
  })();
  return {
    child,
    lines,
    /** The first line from index `from` on that `matches`. */
    async line<L extends T>(matches: (line: T) => line is L, from = 0): Promise<L> {
      for (;;) {
        const found = lines.slice(from).find(matches);
        if (found) return found;
        const more = new Promise<void>((resolve) => {
          wake = resolve;
        });
        const ended = await Promise.race([more, reading.then(() => true)]);
        if (ended === true && !lines.slice(from).some(matches)) {
          throw new Error(`process ended without saying that; it said ${JSON.stringify(lines)}`);
        }
      }
    },
  };
}

function node(publicIp: NodeOptions["publicIp"], ttlMs = DAY_MS, renewMarginMs = ttlMs / 2) {
  const options: NodeOptions = { path, publicIp, ttlMs, renewMarginMs };
  return spawn<NodeReport>([join(import.meta.dir, "node.ts"), JSON.stringify(options)]);
}

function is<K extends NodeReport["kind"]>(kind: K) {
  return (line: NodeReport): line is Extract<NodeReport, { kind: K }> => line.kind === kind;
}

function setOf(count: number) {
  return (line: NodeReport): line is Extract<NodeReport, { kind: "set" }> =>
    line.kind === "set" && line.keys.length === count;
}

/**
 * What all threads of a process have run so far: the first figure of each /proc/PID/task/TID/schedstat, in
 * nanoseconds.
 */
function cpuMs(pid: number): number {
  const tasks = `/proc/${pid}/task`;
  const ran = readdirSync(tasks).map((task) =>
    Number.parseInt(readFileSync(join(tasks, task, "schedstat"), "utf8"), 10),
  );
  return ran.reduce((sum, ns) => sum + ns, 0) / 1e6;
}

/** A process that runs `body` with `db`, a connection to the store. */
function sqlite(body: string) {
  const open = 'const db = new (await import("bun:sqlite")).Database(process.argv[1], { readwrite: true });';
  return spawn<string>(["-e", `${open} ${body}`, path]);
}

const isReady = (line: string): line is string => line === "ready";

describe("processes that start at once over as many subnets each get exactly one", () => {
  const rows: [string, number, string, (i: number) => NodeOptions["publicIp"]][] = [
    ["8 in IPv4", 8, range4(8), (i) => ({ ipv4: `192.0.2.${i}` })],
    ["20 in IPv4", 20, range4(20), (i) => ({ ipv4: `192.0.2.${i}` })],
    ["8 in IPv6 alone", 8, `"EnableIPv4":false,${range6(8)}`, (i) => ({ ipv6: `2001:db8::${i}` })],
    ["8 in dual stack", 8, `${range4(8)},${range6(8)}`, (i) => ({ ipv4: `192.0.2.${i}`, ipv6: `2001:db8::${i}` })],
    ["12 in dual stack", 12, `${range4(12)},${range6(12)}`, (i) => ({ ipv4: `192.0.2.${i}`, ipv6: `2001:db8::${i}` })],
  ];
  test.each(rows)(
    "%s",
    async (_title, count, ranges, publicIp) => {
      const nodes = Array.from({ length: count }, (_, i) => node(publicIp(i + 1)));
      // They race from the moment the configuration appears.
      for (const each of nodes) await each.line(is("waiting"));
      const store = await registry();
      await store.setConfig(`{${ranges},${BACKEND}}`, signal);
      const keys: string[] = [];
      for (const each of nodes) keys.push((await each.line(is("lease"))).key);
      expect(new Set(keys).size).toBe(count);
      const stored = (await store.entries(signal)).entries.map(({ key }) => key);
      expect(stored.toSorted()).toEqual(keys.toSorted());
      expect(haveRivals(stored.map((key) => parseLeaseKey(key) ?? {}))).toBe(false);
      for (const each of nodes) await each.line(setOf(count - 1));
    },
    60_000,
  );

  function range4(count: number): string {
    return `"Network":"10.5.0.0/16","SubnetMin":"10.5.1.0","SubnetMax":"10.5.${count}.0"`;
  }
  function range6(count: number): string {
    const last = `fd00:0:0:${count.toString(16)}::`;
    return `"EnableIPv6":true,"IPv6Network":"fd00::/48","IPv6SubnetMin":"fd00:0:0:1::","IPv6SubnetMax":"${last}"`;
  }
});

test("a living process keeps its lease beyond its time; a dead one's ends by itself, and all see it", async () => {
  const store = await registry();
  await store.setConfig(NETWORK, signal);
  const [living, dying] = [node({ ipv4: "192.0.2.1" }, 1500), node({ ipv4: "192.0.2.2" }, 1500)];
  await living.line(setOf(1));
  const { key } = await dying.line(is("lease"));
  await Bun.sleep(2000);
  expect((await store.entries(signal)).entries).toHaveLength(2);
  const { revision } = await store.entries(signal);
  const seen = collect(store.watch(revision, signal));
  const before = living.lines.length;
  dying.child.kill("SIGKILL");
  await living.line(setOf(0), before);
  await seen.until((changes) => changes.length > 0);
  expect(seen.changes.map(describeChange)).toEqual([`remove ${key}`]);
}, 15_000);

test("a process whose lease another takes over says so", async () => {
  const store = await registry();
  await store.setConfig(NETWORK, signal);
  const robbed = node({ ipv4: "192.0.2.1" });
  const { key } = await robbed.line(is("lease"));
  await robbed.line(is("set"));
  const { entry } = await store.entry(key, signal);
  if (!entry) throw new Error("no lease");
  await store.replace(entry, VALUE, DAY_MS, signal);
  expect((await robbed.line(is("kept"))).outcome).toBe("lost");
}, 15_000);

test("a store locked for seconds by another process is waited for, without blocking this one", async () => {
  const store = await registry();
  const locker = sqlite(
    'db.run("BEGIN EXCLUSIVE"); console.log(\'"ready"\'); await Bun.sleep(2000); db.run("COMMIT");',
  );
  await locker.line(isReady);
  let ticks = 0;
  const timer = setInterval(() => ticks++, 10);
  opened.push({ [Symbol.dispose]: () => clearInterval(timer) });
  expect((await store.entries(signal)).entries).toEqual([]); // readers do not wait
  expect(await store.create("10.5.1.0-24", VALUE, DAY_MS, signal)).toMatchObject({ key: "10.5.1.0-24" });
  expect(ticks).toBeGreaterThan(20);
}, 15_000);

test("a process killed in the middle of writing leaves a store that works", async () => {
  const store = await registry();
  const writer = sqlite(
    'db.run("BEGIN IMMEDIATE"); db.run("UPDATE meta SET revision = 99"); console.log(\'"ready"\'); await Bun.sleep(60000);',
  );
  await writer.line(isReady);
  writer.child.kill("SIGKILL");
  await store.create("10.5.1.0-24", VALUE, DAY_MS, signal);
  const { entries, revision } = await store.entries(signal);
  expect(entries).toHaveLength(1);
  expect(revision).toEndWith(":1");
}, 15_000);

test("processes follow a store that is replaced by another file", async () => {
  const store = await registry();
  await store.setConfig(NETWORK, signal);
  await store.create("10.5.77.0-24", VALUE, undefined, signal);
  const follower = node({ ipv4: "192.0.2.1" });
  const { key } = await follower.line(is("lease"));
  await follower.line(setOf(1));
  const other = await openRegistry({ kind: "embedded", path: `${path}.new` }, signal);
  await other.create(key, '{"PublicIP":"192.0.2.1"}', DAY_MS, signal);
  for (const last of [1, 2, 3]) await other.create(`10.5.20${last}.0-24`, VALUE, undefined, signal);
  other[Symbol.dispose]();
  for (const suffix of ["-wal", "-shm"]) rmSync(path + suffix, { force: true });
  renameSync(`${path}.new`, path);
  const after = await follower.line(setOf(3));
  expect(after.keys.toSorted()).toEqual(["10.5.201.0-24", "10.5.202.0-24", "10.5.203.0-24"] as string[]);
}, 15_000);

test("a change reaches another process; a burst comes as few sets; at rest a watcher costs next to nothing", async () => {
  const store = await registry();
  await store.setConfig(NETWORK.replace("/16", "/8").replace("10.5", "10.0"), signal);
  const watcher = node({ ipv4: "192.0.2.1" });
  await watcher.line(is("set"));

  const delays: number[] = [];
  for (let i = 1; i <= 50; i++) {
    await store.create(`10.200.${i}.0-24`, `{"PublicIP":"198.51.100.${i}"}`, DAY_MS, signal);
    const written = performance.timeOrigin + performance.now();
    delays.push((await watcher.line(setOf(i))).at - written);
    await Bun.sleep(15);
  }
  delays.sort((a, b) => a - b);
  const at = (share: number) => delays[Math.floor(share * (delays.length - 1))]?.toFixed(1);
  console.log(`put to lease set in another process: median ${at(0.5)} ms, p99 ${at(0.99)} ms, max ${at(1)} ms`);

  const before = watcher.lines.length;
  const burst = performance.now();
  for (let i = 0; i < 1000; i++) {
    await store.create(`10.${100 + (i >> 8)}.${i & 255}.0-24`, VALUE, DAY_MS, signal);
    if (i % 10 === 0) await Bun.sleep(0);
  }
  await watcher.line(setOf(1050));
  const sets = watcher.lines.length - before;
  console.log(`1,000 puts within ${(performance.now() - burst).toFixed(0)} ms came as ${sets} sets`);
  expect(sets).toBeLessThan(200);

  await Bun.sleep(500);
  await store.create("10.250.1.0-24", VALUE, DAY_MS, signal);
  await watcher.line(setOf(1051));
  await Bun.sleep(500);
  const restMs = 5000;
  const begin = cpuMs(watcher.child.pid);
  await Bun.sleep(restMs);
  console.log(`a watcher at rest used ${(((cpuMs(watcher.child.pid) - begin) / restMs) * 100).toFixed(2)} % of a core`);
  watcher.child.kill("SIGTERM");
  expect((await watcher.line(is("kept"))).outcome).toBe("stopped");
}, 60_000);
