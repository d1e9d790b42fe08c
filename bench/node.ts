// A node of a benchmark: a network namespace with an external interface, a store, a directory for subnet.env, and
// flanneld in it.

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decodeFdb, dumpFdb } from "../src/netlink/fdb.ts";
import { findLink, listNeighbours, listNexthops, listRoutes } from "../src/netlink/list.ts";
import { NUD_PERMANENT } from "../src/netlink/neighbour.ts";
import { RT_TABLE_MAIN } from "../src/netlink/route.ts";
import { RequestSocket } from "../src/netlink/socket.ts";
import { ROUTE_PROTOCOL } from "../src/state/print.ts";
import { inNamespace } from "../src/sys/netns.ts";
import { addExternalInterface, Namespace } from "../test/kernel/linux_world.ts";
import { type Counts, now } from "./counts.ts";
import { DEVICE } from "./leases.ts";
import { Observer } from "./observer.ts";
import { cpuSeconds } from "./process.ts";

const IDLE_STEP_MS = 50;
/** So many looks in a row without a tick of CPU time: nothing is left to do. */
const IDLE_LOOKS = 4;
/** A daemon that stops has nothing to wait for. */
const STOP_LIMIT_MS = 5_000;

/** A running flanneld. */
export class Daemon implements AsyncDisposable {
  readonly pid: number;
  /** Just before exec, by `now()`. */
  readonly startedAt: number;
  readonly #child: Bun.Subprocess;
  readonly #log: string;

  constructor(node: BenchNode, executable: string) {
    this.#log = join(node.directory, "flanneld.err");
    const command = [
      executable,
      ...node.storeFlags,
      `--subnet-file=${join(node.directory, "subnet.env")}`,
      "--iface=eth0",
      ...node.flags,
    ];
    this.startedAt = now();
    this.#child = inNamespace(node.namespace.path, () =>
      Bun.spawn(command, {
        stdio: ["ignore", "ignore", Bun.file(this.#log)],
        env: { ...process.env, ...node.environment },
      }),
    );
    this.pid = this.#child.pid;
  }

  /** Waits until it has done all it had to do. Throws when it ended. */
  async idle(): Promise<void> {
    let before = -1;
    for (let looks = 0; looks < IDLE_LOOKS; looks++) {
      if (this.#child.exitCode !== null) throw new Error(`flanneld ended:\n${readFileSync(this.#log, "utf8")}`);
      const spent = cpuSeconds(this.pid);
      if (spent !== before) looks = 0;
      before = spent;
      await Bun.sleep(IDLE_STEP_MS);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGTERM");
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), STOP_LIMIT_MS);
    await this.#child.exited;
    clearTimeout(timer);
  }
}

export class BenchNode implements Disposable {
  readonly namespace = new Namespace();
  readonly directory = mkdtempSync(join(tmpdir(), "flannel-bench-"));
  readonly store = join(this.directory, "store.db");
  /** How flanneld is told of its store: the embedded one of `store`, unless this is changed. */
  storeFlags: readonly string[] = [`--store-file=${this.store}`];
  environment: Readonly<Record<string, string>> = {};
  /** Further flags. */
  flags: readonly string[] = [];

  constructor() {
    addExternalInterface(this.namespace);
  }

  start(executable: string): Daemon {
    return new Daemon(this, executable);
  }

  /** `routeProtocol`: of the routes that count, ours by default. */
  observe(routeProtocol?: number): Promise<Observer> {
    return Observer.open(this.namespace.path, DEVICE, this.directory, routeProtocol);
  }

  /** Runs a program in the namespace; resolves to the milliseconds from exec to its end. */
  async time(command: readonly string[]): Promise<number> {
    const begun = now();
    const child = inNamespace(this.namespace.path, () =>
      Bun.spawn([...command], { stdio: ["ignore", "ignore", "inherit"] }),
    );
    const code = await child.exited;
    const took = now() - begun;
    if (code !== 0) throw new Error(`${command.join(" ")}: exit ${code}`);
    return took;
  }

  /** What stands, read from the kernel. */
  objects(): Counts {
    using socket = new RequestSocket({ namespace: this.namespace.path });
    const index = findLink(socket, { name: DEVICE })?.index;
    if (index === undefined) return { neighbour: 0, fdb: 0, nexthop: 0, route: 0 };
    const permanent = (entry: { readonly state: number }) => (entry.state & NUD_PERMANENT) !== 0;
    return {
      neighbour: listNeighbours(socket, { family: "ipv4", index }).filter(permanent).length,
      fdb: socket.dump((writer) => dumpFdb(writer, { index }), decodeFdb).filter(permanent).length,
      nexthop: listNexthops(socket, { oif: index }).length,
      route: listRoutes(socket, { family: "ipv4", table: RT_TABLE_MAIN, protocol: ROUTE_PROTOCOL, oif: index }).length,
    };
  }

  /** Throws unless `count` peers stand completely: a time to something else would mean nothing. */
  requirePeers(count: number): void {
    const objects = this.objects();
    if (Object.values(objects).some((each) => each !== count)) {
      throw new Error(`want ${count} peers in the kernel, got ${JSON.stringify(objects)}`);
    }
  }

  [Symbol.dispose](): void {
    this.namespace[Symbol.dispose]();
    rmSync(this.directory, { recursive: true, force: true });
  }
}
