// A real etcd cluster for tests: one member or three, plain or with TLS, on loopback (each cluster has addresses of its
// own in 127/8, so ports do not clash) or in network namespaces. Its owner can do to it what happens to clusters: stop, kill,
// freeze and restart members, take their data away, and use etcdctl in both generations.
//
// ETCD and ETCDCTL name the programs, by default those of PATH.

import { randomInt } from "node:crypto";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const ETCD = process.env.ETCD ?? "etcd";
const ETCDCTL = process.env.ETCDCTL ?? "etcdctl";
const START_LIMIT_MS = 30_000;
const POLL_MS = 25;

/** PEM files for the members' client port; with `clientCaFile` a client certificate is demanded. */
export interface ClusterTls {
  readonly certFile: string;
  readonly keyFile: string;
  /** The authority of `certFile`, for etcdctl. */
  readonly caFile: string;
  readonly clientCaFile?: string;
  /** What etcdctl shows when a client certificate is demanded. */
  readonly client?: { readonly certFile: string; readonly keyFile: string };
}

/** Where a member runs: the path of a network namespace and an address there. */
export interface Place {
  readonly namespace: string;
  readonly address: string;
}

export interface ClusterOptions {
  readonly members?: 1 | 3;
  /** The v2 API as well; etcd 3.4 has it off by default. */
  readonly enableV2?: boolean;
  readonly tls?: ClusterTls;
  readonly flags?: readonly string[];
  /** One for each member; loopback of this process's namespace without. */
  readonly places?: readonly Place[];
  /** A disk of their own for the data: a directory in the mount namespace of the process `pid`. */
  readonly disk?: { readonly pid: number; readonly directory: string };
}

export class EtcdMember {
  readonly name: string;
  readonly address: string;
  readonly url: string;
  readonly #command: readonly string[];
  readonly #dataDirectory: string;
  readonly #log: string;
  #child: Bun.Subprocess | undefined;

  constructor(name: string, address: string, url: string, command: readonly string[], data: string, log = data) {
    this.name = name;
    this.address = address;
    this.url = url;
    this.#dataDirectory = join(data, name);
    this.#command = [...command, "--data-dir", this.#dataDirectory];
    this.#log = join(log, `${name}.log`);
  }

  get pid(): number {
    if (!this.#child) throw new Error(`etcd ${this.name} does not run`);
    return this.#child.pid;
  }

  get runs(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** What etcd wrote so far. */
  get log(): string {
    return readFileSync(this.#log, "utf8");
  }

  /** Starts it; `changes` replaces flags of the first start ("--initial-cluster-state" → "existing"). */
  start(changes: Readonly<Record<string, string>> = {}): void {
    const command = this.#command.map((word, i, all) => changes[all[i - 1] ?? ""] ?? word);
    const file = openSync(this.#log, "a");
    try {
      // Variables ETCD_… would be flags.
      const env = Object.fromEntries(Object.entries(process.env).filter(([key]) => !key.startsWith("ETCD")));
      // It dies with this process, also when that is killed.
      const mortal = ["setpriv", "--pdeathsig", "KILL", ...command];
      this.#child = Bun.spawn(mortal, { env, stdin: "ignore", stdout: file, stderr: file });
    } finally {
      closeSync(file);
    }
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  /** Ends it: SIGKILL is a crash, SIGTERM an orderly end. */
  async stop(signal: "SIGKILL" | "SIGTERM" = "SIGKILL"): Promise<void> {
    const child = this.#child;
    if (!child) return;
    child.kill("SIGCONT");
    child.kill(signal);
    await child.exited;
    this.#child = undefined;
  }

  /** Takes the data of a stopped member away. */
  wipe(): void {
    rmSync(this.#dataDirectory, { recursive: true, force: true });
  }
}

export class EtcdCluster implements AsyncDisposable {
  readonly members: readonly EtcdMember[];
  readonly directory: string;
  readonly #options: ClusterOptions;

  private constructor(options: ClusterOptions) {
    this.#options = options;
    this.directory = mkdtempSync(join(tmpdir(), "flannel-etcd-"));
    const { members: count = 1, tls, enableV2 = false, flags = [], places, disk } = options;
    // By chance: process ids come round again, and an etcd that outlived its test would answer in place of this one.
    const block = `127.${randomInt(64, 128)}.${randomInt(256)}`;
    const offset = 4 * randomInt(63);
    const addresses = Array.from({ length: count }, (_, i) => places?.[i]?.address ?? `${block}.${offset + i + 1}`);
    const peerUrl = (address: string) => `http://${address}:2380`;
    const initial = addresses.map((address, i) => `m${i + 1}=${peerUrl(address)}`).join(",");
    this.members = addresses.map((address, i) => {
      const url = `${tls ? "https" : "http"}://${address}:2379`;
      const enter = [
        ...(places?.[i] ? ["nsenter", `--net=${places[i].namespace}`] : []),
        ...(disk ? ["nsenter", `--mount=/proc/${disk.pid}/ns/mnt`] : []),
      ];
      const base = [
        ...[...enter, ETCD, "--name", `m${i + 1}`, "--initial-cluster", initial, "--initial-cluster-state", "new"],
        ...["--initial-cluster-token", this.directory, "--log-level", "warn", "--logger", "zap"],
        ...["--listen-peer-urls", peerUrl(address), "--initial-advertise-peer-urls", peerUrl(address)],
        ...["--listen-client-urls", url, "--advertise-client-urls", url, "--unsafe-no-fsync"],
        ...(enableV2 ? ["--enable-v2"] : []),
        ...(tls ? ["--cert-file", tls.certFile, "--key-file", tls.keyFile] : []),
        ...(tls?.clientCaFile ? ["--client-cert-auth", "--trusted-ca-file", tls.clientCaFile] : []),
        ...flags,
      ];
      return new EtcdMember(`m${i + 1}`, address, url, base, disk?.directory ?? this.directory, this.directory);
    });
  }

  static async start(options: ClusterOptions = {}): Promise<EtcdCluster> {
    const cluster = new EtcdCluster(options);
    try {
      for (const member of cluster.members) member.start();
      await cluster.healthy();
      const ended = cluster.members.find(({ runs }) => !runs);
      if (ended) throw new Error(`etcd ${ended.name} has ended, another one answers at ${ended.url}: ${ended.log}`);
      return cluster;
    } catch (error) {
      await cluster[Symbol.asyncDispose]();
      throw error;
    }
  }

  get endpoints(): readonly string[] {
    return this.members.map(({ url }) => url);
  }

  /** Member n, counted from 1. */
  member(n: number): EtcdMember {
    const member = this.members[n - 1];
    if (!member) throw new RangeError(`There is no member ${n}`);
    return member;
  }

  /** Waits until the cluster serves writes at every one of these endpoints. */
  async healthy(endpoints: readonly string[] = this.endpoints): Promise<void> {
    const end = performance.now() + START_LIMIT_MS;
    for (;;) {
      const { code, output } = this.try(["endpoint", "health", `--endpoints=${endpoints.join(",")}`]);
      if (code === 0) return;
      if (performance.now() > end) {
        const logs = this.members.map((member) => `${member.name}: ${member.log.slice(-1_000)}`);
        throw new Error(`etcd is not healthy: ${output}\n${logs.join("\n")}`);
      }
      await Bun.sleep(POLL_MS);
    }
  }

  /** The member that leads now. */
  leader(): EtcdMember {
    for (const member of this.members) {
      const { code, output } = this.try(["endpoint", "status", "-w", "json", `--endpoints=${member.url}`]);
      if (code !== 0) continue;
      const [{ Status }] = JSON.parse(output) as [{ Status: { leader: number; header: { member_id: number } } }];
      if (Status.leader === Status.header.member_id) return member;
    }
    throw new Error("No member leads");
  }

  /** etcdctl with the v3 API; throws when it fails. */
  ctl(...words: string[]): string {
    return done(`etcdctl ${words.join(" ")}`, this.try(words));
  }

  /** etcdctl with the v2 API; throws when it fails. */
  ctl2(...words: string[]): string {
    return done(`etcdctl (v2) ${words.join(" ")}`, this.try(words, "2"));
  }

  /** etcdctl, whatever comes of it; standard output and error together. */
  try(words: readonly string[], api: "2" | "3" = "3"): { readonly code: number; readonly output: string } {
    const { tls, places } = this.#options;
    const enter = places?.[0] ? ["nsenter", `--net=${places[0].namespace}`] : [];
    const [ca, cert, key] = api === "2" ? ["ca-file", "cert-file", "key-file"] : ["cacert", "cert", "key"];
    const given = words.some((word) => word.startsWith("--endpoints"));
    const globals = [
      ...(given ? [] : [`--endpoints=${this.endpoints.join(",")}`]),
      ...(tls ? [`--${ca}=${tls.caFile}`] : []),
      ...(tls?.client ? [`--${cert}=${tls.client.certFile}`, `--${key}=${tls.client.keyFile}`] : []),
      ...(api === "3" ? ["--command-timeout=3s", "--dial-timeout=2s"] : []),
    ];
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("ETCDCTL_")));
    const { exitCode, stdout, stderr } = Bun.spawnSync([...enter, ETCDCTL, ...globals, ...words], {
      env: { ...env, ETCDCTL_API: api },
    });
    return { code: exitCode, output: `${stdout}${stderr}`.trim() };
  }

  /** curl(1) where the cluster is, with a configuration file's text: many requests on one connection. */
  curl(config: string): string {
    const { places, tls } = this.#options;
    const enter = places?.[0] ? ["nsenter", `--net=${places[0].namespace}`] : [];
    const secure = [
      ...(tls ? ["--cacert", tls.caFile] : []),
      ...(tls?.client ? ["--cert", tls.client.certFile, "--key", tls.client.keyFile] : []),
    ];
    const command = [...enter, "curl", "--silent", "--show-error", "--fail", ...secure, "--config", "-"];
    const { exitCode, stdout, stderr } = Bun.spawnSync(command, { stdin: Buffer.from(config) });
    return done("curl", { code: exitCode, output: `${stdout}${stderr}` });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.members.map((member) => member.stop()));
    rmSync(this.directory, { recursive: true, force: true });
  }
}

function done(what: string, { code, output }: { readonly code: number; readonly output: string }): string {
  if (code !== 0) throw new Error(`${what}: exit ${code}: ${output}`);
  return output;
}
