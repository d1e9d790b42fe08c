// A pod's ADD and DEL through `flannel` with its built-in delegates, against Debian's bridge and host-local called directly with the same configuration, turn by
// turn in one run; a burst of 50, 8 at a time; and DEL against what the kernel alone takes to delete such a veth. Two nodes, that is two network namespaces
// with a bridge each, and pods that are namespaces too. Nothing is on standard error of either, and every ADD must answer an address.

import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inNamespace } from "../src/sys/netns.ts";
import type { Bench } from "./bench.ts";
import { settle } from "./machine.ts";
import type { Row, Table } from "./table.ts";

const REFERENCE = "/usr/lib/cni";
const BURST = 50;
const LANES = 8;
/** What the bridge gets is the subnet's first address; 253 are left. */
const SUBNET = "10.99.1.0/24";
const NETWORK = "10.99.0.0/16";
const MTU = 1450;

interface Cost {
  readonly wallMs: number;
  /** Of the process and those it waited for. */
  readonly cpuMs: number;
}

/** A node whose pods one plugin attaches. */
class Node implements Disposable {
  readonly #directory = mkdtempSync(join(tmpdir(), "flannel-bench-cni-"));
  readonly #name: string;
  readonly #plugin: string;
  readonly #conf: Buffer;
  readonly pods: readonly string[];

  constructor(kind: "flannel" | "bridge", executable: string) {
    this.#name = `flannel-bench-${process.pid}-${kind}`;
    const ipam = { dataDir: join(this.#directory, "networks") };
    const all = { cniVersion: "1.0.0", name: "bench" };
    if (kind === "flannel") {
      // As it is called on a node: by its name, in a directory of plugins.
      this.#plugin = join(this.#directory, "flannel");
      symlinkSync(executable, this.#plugin);
      const subnetFile = join(this.#directory, "subnet.env");
      const subnet = SUBNET.replace(".0/", ".1/");
      const lines = [
        `FLANNEL_NETWORK=${NETWORK}`,
        `FLANNEL_SUBNET=${subnet}`,
        `FLANNEL_MTU=${MTU}`,
        "FLANNEL_IPMASQ=true",
      ];
      writeFileSync(subnetFile, `${lines.join("\n")}\n`);
      const dataDir = join(this.#directory, "state");
      const delegate = { isDefaultGateway: true };
      this.#conf = Buffer.from(JSON.stringify({ ...all, type: kind, subnetFile, dataDir, ipam, delegate }));
    } else {
      this.#plugin = join(REFERENCE, kind);
      const ranges = [[{ subnet: SUBNET }]];
      const routes = [{ dst: NETWORK }];
      const delegate = { isGateway: true, isDefaultGateway: true, ipMasq: false, mtu: MTU };
      const hostLocal = { ...ipam, type: "host-local", ranges, routes };
      this.#conf = Buffer.from(JSON.stringify({ ...all, type: kind, ...delegate, ipam: hostLocal }));
    }
    mkdirSync(ipam.dataDir);
    ip("netns", "add", this.#name);
    this.pods = Array.from({ length: BURST }, (_, i) => `${this.#name}-${i}`);
    for (const pod of this.pods) {
      ip("netns", "add", pod);
      ip("-n", pod, "link", "set", "lo", "up");
    }
  }

  get #path(): string {
    return `/var/run/netns/${this.#name}`;
  }

  /** Runs a program on the node. */
  run(command: readonly string[], environment: Readonly<Record<string, string>> = {}, stdin?: Buffer): Cost {
    const begun = performance.now();
    const { exitCode, stdout, stderr, resourceUsage } = inNamespace(this.#path, () =>
      Bun.spawnSync([...command], { env: environment, stdin: stdin ?? "ignore", stdout: "pipe", stderr: "pipe" }),
    );
    const wallMs = performance.now() - begun;
    if (exitCode !== 0 || stderr.length > 0) throw new Error(`${command.join(" ")}: ${stdout}${stderr}`);
    if (environment.CNI_COMMAND === "ADD") requireAddress(stdout.toString());
    return { wallMs, cpuMs: Number(resourceUsage.cpuTime.total) / 1_000 };
  }

  call(verb: "ADD" | "DEL", pod: string): Cost {
    return this.run([this.#plugin], environmentOf(verb, pod), this.#conf);
  }

  /** All pods, some at a time: milliseconds from the first to the last. */
  async burst(verb: "ADD" | "DEL"): Promise<number> {
    const waiting = this.pods.values();
    const begun = performance.now();
    await Promise.all(
      Array.from({ length: LANES }, async () => {
        for (const pod of waiting) {
          const child = inNamespace(this.#path, () =>
            Bun.spawn([this.#plugin], {
              env: environmentOf(verb, pod),
              stdin: this.#conf,
              stdout: "pipe",
              stderr: "pipe",
            }),
          );
          const [out, code] = await Promise.all([child.stdout.text(), child.exited]);
          if (code !== 0) throw new Error(`${verb} of ${pod}: ${out}`);
          if (verb === "ADD") requireAddress(out);
        }
      }),
    );
    return performance.now() - begun;
  }

  [Symbol.dispose](): void {
    for (const name of [...this.pods, this.#name]) Bun.spawnSync(["ip", "netns", "delete", name]);
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

function environmentOf(verb: string, pod: string): Record<string, string> {
  return {
    CNI_COMMAND: verb,
    CNI_CONTAINERID: pod,
    CNI_NETNS: `/var/run/netns/${pod}`,
    CNI_IFNAME: "eth0",
    CNI_PATH: REFERENCE,
    PATH: process.env.PATH ?? "",
  };
}

function requireAddress(answer: string): void {
  if (!answer.includes('"10.99.1.')) throw new Error(`ADD answered no address: ${answer}`);
}

function ip(...words: readonly string[]): void {
  const { exitCode, stderr } = Bun.spawnSync(["ip", ...words]);
  if (exitCode !== 0) throw new Error(`ip ${words.join(" ")}: ${stderr}`);
}

export async function cni({ flanneld, hello, runs, signal, say }: Bench): Promise<readonly Table[]> {
  using ours = new Node("flannel", flanneld);
  using raw = new Node("bridge", flanneld);
  const single = await singles(ours, raw, hello, runs, signal);
  say("cni: bursts");
  return [single, await bursts(ours, raw, Math.max(3, Math.ceil(runs / 4)), signal)];
}

async function singles(ours: Node, raw: Node, hello: string, runs: number, signal: AbortSignal): Promise<Table> {
  const costs = { hello: [], oursAdd: [], rawAdd: [], oursDel: [], rawDel: [], linkDel: [] } as Record<string, Cost[]>;
  const note = (row: string, cost: Cost) => void costs[row]?.push(cost);
  const [pod = ""] = ours.pods;
  const [rawPod = ""] = raw.pods;
  const file = join(tmpdir(), `flannel-bench-hello-${process.pid}`);
  // The bridges are made, the executables come into the page cache, and both sides have had a pod before.
  for (const node of [ours, raw]) for (const verb of ["ADD", "DEL"] as const) node.call(verb, node.pods[0] ?? "");
  await settle();
  for (let i = 0; i < runs; i++) {
    signal.throwIfAborted();
    note("hello", ours.run([hello, file]));
    // Who comes first changes from run to run.
    const turns = [
      () => note("oursAdd", ours.call("ADD", pod)),
      () => note("rawAdd", raw.call("ADD", rawPod)),
      () => note("oursDel", ours.call("DEL", pod)),
      () => note("rawDel", raw.call("DEL", rawPod)),
    ] as const;
    for (const turn of i % 2 === 0 ? [0, 1, 2, 3] : [1, 0, 3, 2]) turns[turn]?.();
    // The same kind of veth, and nothing else: the address is given back afterwards.
    raw.call("ADD", rawPod);
    note("linkDel", raw.run(["ip", "-n", rawPod, "link", "delete", "eth0"], { PATH: process.env.PATH ?? "" }));
    raw.call("DEL", rawPod);
  }
  rmSync(file, { force: true });
  const row = (name: string, key: string, more: Partial<Row> = {}): Row => ({
    name,
    unit: "ms",
    samples: costs[key]?.map(({ wallMs }) => wallMs) ?? [],
    ...more,
  });
  const RAW_ADD = "ADD, Debian's bridge + host-local";
  const RAW_CPU = "ADD's time on a core, Debian's";
  const LINK_DEL = "ip -n POD link delete eth0";
  return {
    title: "CNI: one pod",
    rows: [
      row("hello world of the same build", "hello"),
      row(RAW_ADD, "rawAdd"),
      row("ADD, flannel with built-in delegates", "oursAdd", { against: RAW_ADD, goal: "≤ 1.2 ×" }),
      row(LINK_DEL, "linkDel"),
      row("DEL, Debian's bridge + host-local", "rawDel", { against: LINK_DEL }),
      row("DEL, flannel with built-in delegates", "oursDel", { against: LINK_DEL, goal: "≤ 1.2 ×" }),
      { name: RAW_CPU, unit: "ms", samples: costs.rawAdd?.map(({ cpuMs }) => cpuMs) ?? [] },
      {
        name: "ADD's time on a core, flannel",
        unit: "ms",
        samples: costs.oursAdd?.map(({ cpuMs }) => cpuMs) ?? [],
        against: RAW_CPU,
      },
    ],
  };
}

async function bursts(ours: Node, raw: Node, runs: number, signal: AbortSignal): Promise<Table> {
  const samples = { oursAdd: [], rawAdd: [], oursDel: [], rawDel: [] } as Record<string, number[]>;
  for (let i = 0; i < runs; i++) {
    for (const [name, node] of i % 2 === 0
      ? ([
          ["ours", ours],
          ["raw", raw],
        ] as const)
      : ([
          ["raw", raw],
          ["ours", ours],
        ] as const)) {
      for (const verb of ["ADD", "DEL"] as const) {
        signal.throwIfAborted();
        await settle();
        samples[`${name}${verb === "ADD" ? "Add" : "Del"}`]?.push(await node.burst(verb));
      }
    }
  }
  const row = (name: string, key: string, more: Partial<Row> = {}): Row => ({
    name,
    unit: "ms",
    samples: samples[key] ?? [],
    ...more,
  });
  const [RAW_ADD, RAW_DEL] = [`${BURST} ADDs, Debian's`, `${BURST} DELs, Debian's`];
  return {
    title: `CNI: ${BURST} pods, ${LANES} at a time`,
    rows: [
      row(RAW_ADD, "rawAdd"),
      row(`${BURST} ADDs, flannel`, "oursAdd", { against: RAW_ADD, goal: "≤ 0.7 ×" }),
      row(RAW_DEL, "rawDel"),
      row(`${BURST} DELs, flannel`, "oursDel", { against: RAW_DEL }),
    ],
  };
}
