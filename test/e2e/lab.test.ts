// `flannelctl lab` with the real programs: it builds, shows, and leaves nothing behind, however it ends. FLANNELD
// names the flanneld to test, by default dist/flanneld; flannelctl lies beside it. Needs root. Every lab has a name
// with this process's pid, so runs do not meet.

import { afterEach, describe, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { layoutOf } from "../../src/ctl/lab/layout.ts";
import { readState } from "../../src/ctl/lab/state.ts";
import { blockVxlan, unblockVxlan } from "../../src/ctl/lab/topology.ts";

const FLANNELD = resolve(process.env.FLANNELD ?? "dist/flanneld");
const FLANNELCTL = join(dirname(FLANNELD), "flannelctl");
const TIMEOUT_MS = 120_000;

const used = new Set<string>();

/** A lab's name that this process alone uses; removed after the test whatever happens. */
function labName(suffix: string): string {
  const name = `t${process.pid}${suffix}`;
  used.add(name);
  return name;
}

function start(args: readonly string[], environment: Record<string, string> = {}) {
  return Bun.spawn([FLANNELCTL, "lab", ...args], {
    env: { ...process.env, FLANNELD, ...environment },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
}

async function ctl(args: readonly string[], environment: Record<string, string> = {}) {
  const child = start(args, environment);
  const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { code, stdout, stderr };
}

/** Waits until the output of a running flannelctl holds `text`, and goes on as a reader that went away. */
async function outputOf(child: ReturnType<typeof start>, text: string): Promise<void> {
  const decoder = new TextDecoder();
  let output = "";
  for await (const chunk of child.stdout) {
    output += decoder.decode(chunk, { stream: true });
    if (output.includes(text)) return;
  }
  throw new Error(`flannelctl ended without saying "${text}": ${output}`);
}

/** What is left of a lab. Its flannelds are known by where their log goes, a witness that flannelctl does not use. */
function traces(name: string): string[] {
  const directory = `/run/flannel-lab/${name}`;
  const ours = new RegExp(`flab-${name}-(sw|n[0-9]+(p[0-9]+)?)$`);
  const mounts = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((text) => text.split(" ")[4] ?? "");
  const namespaces = existsSync("/run/netns") ? readdirSync("/run/netns") : [];
  return [
    ...namespaces.filter((namespace) => ours.test(namespace)),
    ...(existsSync(directory) ? [directory] : []),
    ...mounts.filter((target) => ours.test(target)).map((target) => `mount ${target}`),
    ...readdirSync("/proc")
      .filter((pid) => /^\d+$/.test(pid) && logOf(pid).startsWith(`${directory}/`))
      .map((pid) => `process ${pid}`),
  ];
}

function logOf(pid: string): string {
  try {
    return readlinkSync(`/proc/${pid}/fd/1`);
  } catch {
    return "";
  }
}

afterEach(async () => {
  for (const name of used) await ctl(["down", "--name", name]);
  used.clear();
}, TIMEOUT_MS);

describe("flannelctl lab", () => {
  test(
    "up --backend: by its type, and with options as the network configuration has them; one that makes no routes comes up as well",
    async () => {
      const [command, bare] = [labName("x"), labName("y")];
      const backend = {
        Type: "Extension",
        SubnetAddCommand: 'ip route add "$SUBNET" via "$PUBLIC_IP"',
        SubnetRemoveCommand: 'ip route del "$SUBNET" via "$PUBLIC_IP"',
      };
      const joined = await ctl(["up", "--name", command, "--backend", JSON.stringify(backend), "--json"]);
      expect(joined).toMatchObject({ code: 0 });
      expect(JSON.parse(joined.stdout).matrix).toMatchObject({ ok: true, pairs: 6, reached: 6 });
      const alone = await ctl(["up", "--name", bare, "--nodes", "2", "--backend", "alloc", "--count", "1"]);
      expect(alone).toMatchObject({ code: 1 });
      expect(alone.stdout).toContain("0 of 2 pairs reach each other");
      expect(alone.stdout).not.toContain("VTEP MAC");
      for (const [wrong, text] of [
        ["gce", "which flannel dropped in 2022"],
        ['{"Type":"vxlan","VNI":"x"}', "--backend.VNI: got"],
        ['{"Tpye":"vxlan"}', 'want a "Type"'],
      ] as const) {
        const { code, stderr } = await ctl(["up", "--name", labName("z"), "--backend", wrong]);
        expect([code === 0, stderr]).toEqual([false, expect.stringContaining(text)]);
        expect(traces(labName("z"))).toEqual([]);
      }
    },
    TIMEOUT_MS,
  );

  test(
    "up, status, ping and down: builds a lab, looks at it, and leaves nothing",
    async () => {
      const name = labName("a");
      const up = await ctl(["up", "--name", name, "--ipv6", "--pods", "2", "--json"]);
      expect(up).toMatchObject({ code: 0 });
      const { leases, matrix } = JSON.parse(up.stdout);
      expect(leases.map((lease: { node: string }) => lease.node)).toEqual(["n1", "n2", "n3"]);
      expect(new Set(leases.map((lease: { subnet: { ipv4: string } }) => lease.subnet.ipv4)).size).toBe(3);
      // 6 pods, each to the 5 others, in two families.
      expect(matrix).toMatchObject({ ok: true, pairs: 60, reached: 60 });

      expect(await ctl(["ping", "--name", name, "--count", "1"])).toMatchObject({ code: 0 });
      const status = await ctl(["status", "--name", name, "--json"]);
      expect(status).toMatchObject({ code: 0 });
      const { nodes } = JSON.parse(status.stdout);
      expect(nodes).toMatchObject([
        { name: "n1", alive: true, phase: "ready" },
        { name: "n2", alive: true, phase: "ready" },
        { name: "n3", alive: true, phase: "ready" },
      ]);

      process.kill(nodes[1].pid, "SIGKILL");
      await Bun.sleep(50);
      const degraded = await ctl(["status", "--name", name]);
      expect(degraded.code).toBe(1);
      expect(degraded.stdout).toMatch(/n2 +gone/);

      expect(await ctl(["down", "--name", name])).toMatchObject({ code: 0 });
      expect(traces(name)).toEqual([]);
      const gone = await ctl(["ping", "--name", name]);
      expect(gone.code).toBe(1);
      expect(gone.stderr).toContain(`no lab ${name} stands`);
      expect(await ctl(["down", "--name", name])).toMatchObject({ code: 0 });
    },
    TIMEOUT_MS,
  );

  test(
    "up: IPv6 alone works",
    async () => {
      const name = labName("six");
      const up = await ctl(["up", "--name", name, "--nodes", "2", "--no-ipv4", "--ipv6", "--json"]);
      expect(up).toMatchObject({ code: 0 });
      expect(JSON.parse(up.stdout).matrix).toMatchObject({ ok: true, pairs: 2 });
    },
    TIMEOUT_MS,
  );

  test(
    "ping: blocked vxlan turns the matrix red and the exit code to 1, and back",
    async () => {
      const name = labName("b");
      expect(await ctl(["up", "--name", name, "--nodes", "2", "--ipv6"])).toMatchObject({ code: 0 });
      const state = readState(name);
      if (!state) throw new Error("the lab has no state");
      const lab = layoutOf(state.options);
      await blockVxlan(lab);
      const red = await ctl(["ping", "--name", name]);
      expect(red.code).toBe(1);
      expect(red.stdout).toContain("lost 3/3");
      expect(red.stdout).toContain("0 of 4 pairs reach each other");
      await unblockVxlan(lab);
      expect(await ctl(["ping", "--name", name])).toMatchObject({ code: 0 });
    },
    TIMEOUT_MS,
  );

  for (const [signal, code] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const) {
    test(
      `up: ${signal} in the middle leaves nothing`,
      async () => {
        for (const moment of ["making namespaces", "flanneld started", "leased"]) {
          const name = labName("i");
          const child = start(["up", "--name", name]);
          await outputOf(child, moment);
          child.kill(signal);
          expect(await child.exited).toBe(code);
          expect(traces(name)).toEqual([]);
        }
      },
      TIMEOUT_MS,
    );
  }

  test(
    "down: removes what SIGKILL in the middle of up left",
    async () => {
      for (const moment of ["making namespaces", "flanneld started", "leased", "overlay up"]) {
        const name = labName("k");
        const child = start(["up", "--name", name]);
        await outputOf(child, moment);
        child.kill("SIGKILL");
        await child.exited;
        expect(traces(name)).not.toEqual([]);
        const refused = await ctl(["up", "--name", name]);
        expect(refused.code).toBe(1);
        expect(refused.stderr).toContain(`flannelctl lab down --name ${name}`);
        expect(await ctl(["down", "--name", name])).toMatchObject({ code: 0, stderr: "" });
        expect(traces(name)).toEqual([]);
      }
    },
    TIMEOUT_MS,
  );

  test(
    "down: stops an up that is still building, and removes its work",
    async () => {
      const name = labName("d");
      const child = start(["up", "--name", name]);
      await outputOf(child, "flanneld started");
      expect(await ctl(["down", "--name", name])).toMatchObject({ code: 0 });
      expect(await child.exited).toBe(143);
      expect(traces(name)).toEqual([]);
    },
    TIMEOUT_MS,
  );

  test(
    "up: two labs side by side do not touch each other, though one's name begins as the other's",
    async () => {
      const [one, two] = [labName("x"), labName("x-n1")];
      const built = await Promise.all([one, two].map((name) => ctl(["up", "--name", name, "--nodes", "2"])));
      expect(built).toMatchObject([{ code: 0 }, { code: 0 }]);
      expect(await ctl(["down", "--name", one])).toMatchObject({ code: 0 });
      expect(traces(one)).toEqual([]);
      expect(await ctl(["ping", "--name", two])).toMatchObject({ code: 0 });
      expect(await ctl(["status", "--name", two])).toMatchObject({ code: 0 });
      expect(await ctl(["down", "--name", two])).toMatchObject({ code: 0 });
      expect(traces(two)).toEqual([]);
    },
    TIMEOUT_MS,
  );

  test(
    "up: a flanneld that fails shows the end of its log, and nothing stays",
    async () => {
      const directory = mkdtempSync(join(tmpdir(), "lab-test-"));
      try {
        const failing = join(directory, "flanneld");
        // On one node alone: the others must not wait for it until their time is over.
        writeFileSync(
          failing,
          `#!/bin/sh
ip address show eth0 | grep -q 192.168.77.12/ || exec sleep 60
echo 'the store is on fire' >&2
exit 1
`,
        );
        chmodSync(failing, 0o755);
        const name = labName("f");
        const up = await ctl(["up", "--name", name], { FLANNELD: failing });
        expect(up.code).toBe(1);
        expect(up.stderr).toContain("flanneld on n2 ended while waiting for lease");
        expect(up.stderr).toContain("the store is on fire");
        expect(traces(name)).toEqual([]);
      } finally {
        rmSync(directory, { recursive: true });
      }
    },
    TIMEOUT_MS,
  );

  test(
    "demo: SIGINT in the middle leaves nothing",
    async () => {
      for (const moment of ["leased", "pings n2p1", "has to turn red"]) {
        const name = labName("s");
        const child = start(["demo", "--name", name]);
        await outputOf(child, moment);
        child.kill("SIGINT");
        expect(await child.exited).toBe(130);
        expect(traces(name)).toEqual([]);
      }
    },
    TIMEOUT_MS,
  );

  test(
    "demo: every phase goes as expected, and nothing stays",
    async () => {
      const name = labName("demo");
      const { code, stdout } = await ctl(["demo", "--name", name]);
      expect(stdout).toContain("all phases as expected");
      expect(code).toBe(0);
      expect(traces(name)).toEqual([]);
    },
    TIMEOUT_MS,
  );
});
