// The udp backend in a guest, whose kernel is older than this machine's may be: what it lacks the packet loop does without, says so, and is a network all the same.
// VM_KERNEL names another kernel to try. What goes on in there is udp.sh.

import { beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseCounters } from "../e2e/udp.ts";
import { everyPing, type NodesResult, runNodes } from "./nodes.ts";

const LIMIT_MS = 300_000;
const UDP = { Network: "10.5.0.0/16", Backend: { Type: "udp" } };

let nodes: NodesResult;

beforeAll(async () => {
  const directory = mkdtempSync(join(tmpdir(), "flannel-udp-"));
  try {
    const entry = join(import.meta.dir, "../e2e/datagrams.ts");
    const built = await Bun.build({ entrypoints: [entry], target: "bun", outdir: directory });
    expect(built.success).toBe(true);
    nodes = await runNodes({
      script: join(import.meta.dir, "udp.sh"),
      config: UDP,
      nodes: 2,
      families: ["ipv4"],
      modules: ["tun"],
      files: { "/datagrams.js": join(directory, "datagrams.js") },
      timeLimitMs: LIMIT_MS,
    });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}, LIMIT_MS + 10_000);

test("every pod reaches every other", () => {
  expect(nodes.said("start")).toEqual(everyPing(["ipv4"], 2));
});

test("packets as long as the MTU go in one piece, longer ones in several or not at all", () => {
  const answers = nodes.said("sizes").map((line) => line.replace("1 > 2 ipv4: ", ""));
  expect(answers).toEqual(["3 of 3", "0 of 3", "3 of 3"]);
});

test("TCP and datagrams of all sizes arrive whole in both directions", () => {
  expect(nodes.said("transfers")).toEqual(["1 > 2: whole", "2 > 1: whole"]);
  expect(nodes.said("datagrams")).toEqual([expect.stringMatching(/^\d+ datagrams whole$/)]);
});

test("the log says what this kernel lacks, and large packets are used as far as it has them", () => {
  const [major = 0, minor = 0] = nodes.file("release").split(".").map(Number);
  const hasUso = major > 6 || (major === 6 && minor >= 2);
  for (const n of [1, 2]) {
    const [line = ""] = nodes.log(n, /packet loop dev flannel0 udp 192\.168\.77\.\d:8285: /);
    expect(line).toEndWith(`; ${hasUso ? "nothing is missing" : "missing: TUN_F_USO4 (Linux 6.2)"}`);
  }
  const [line = ""] = nodes.log(1, /packetloop flannel0: sent packets/);
  const now = parseCounters(line);
  expect(now["sent messages"]).toBeLessThan((now["sent packets"] ?? 0) / 2);
  expect(now["writes to the device"]).toBeLessThan(now["received packets"] ?? 0);
});

test("no flanneld found an error", () => {
  for (const n of [1, 2]) expect(nodes.log(n, /^E|cannot/)).toEqual([]);
});
