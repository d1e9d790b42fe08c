// Calls CNI plugins as a container runtime does (CNI specification 1.1.0, section 2): environment, configuration on standard input, answer on standard
// output. The node that they work on is a network namespace of its own, and so is each pod; all of it goes away with the Host.

import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Verb } from "../../src/cni/call.ts";
import { Namespace } from "../kernel/linux_world.ts";

/** Debian's containernetworking-plugins: the reference, up to CNI 1.0.0. */
export const REFERENCE = "/usr/lib/cni";
/** What `make build` made. */
const EXECUTABLE = resolve(import.meta.dir, "../../dist/flanneld");
/** The names by which that executable is a plugin. */
const OWN_NAMES = ["flannel", "bridge", "host-local", "portmap", "loopback"];

/** Any JSON; tests look into it freely. */
// biome-ignore lint/suspicious/noExplicitAny: an answer under test may have any form
export type Json = any;

export interface Answer {
  /** 128 + number for a signal. */
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
  /** Standard output as JSON; undefined when it is empty. */
  readonly json: Json;
}

export interface CallOptions {
  /** "eth0" unless told. */
  readonly ifname?: string;
  /** CNI_ARGS. */
  readonly args?: string;
  /** CNI_PATH; `plugins` of the host, then the reference's, unless told. */
  readonly path?: readonly string[];
  /** A command that runs the plugin, put before it: strace. */
  readonly under?: readonly string[];
  /** Added to the environment, or taken out of it where undefined. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
}

interface Target {
  readonly containerId?: string;
  readonly netns?: string;
}

/** A node: a namespace in which plugins run, and a directory for subnet.env, state and addresses. */
export class Host implements Disposable {
  readonly namespace = new Namespace();
  readonly directory = mkdtempSync(join(tmpdir(), "flannel-cni-"));
  /** A directory with `flannel`, `bridge`, `host-local` … of this project. */
  readonly ours = join(this.directory, "bin");
  /** A directory for plugins that a test makes. */
  readonly plugins = join(this.directory, "plugins");
  readonly #pods: Pod[] = [];

  constructor() {
    this.namespace.run("ip link set lo up");
    mkdirSync(this.ours);
    mkdirSync(this.plugins);
    for (const name of OWN_NAMES) symlinkSync(EXECUTABLE, join(this.ours, name));
  }

  /** A path below the host's directory. */
  path(name: string): string {
    return join(this.directory, name);
  }

  /** Writes a file below the host's directory, and answers its path. */
  write(name: string, text: string): string {
    writeFileSync(this.path(name), text);
    return this.path(name);
  }

  pod(): Pod {
    const pod = new Pod(this, `pod-${this.#pods.length}-${process.pid}`);
    this.#pods.push(pod);
    return pod;
  }

  /** A verb without a container: STATUS, GC, VERSION. `plugin` is the path of an executable; `conf` text, or what becomes JSON. */
  call(verb: Verb, plugin: string, conf: unknown, options: CallOptions = {}, target: Target = {}): Answer {
    const { command, env, stdin } = this.#prepare(verb, plugin, conf, options, target);
    const { exitCode, signalCode, stdout, stderr } = Bun.spawnSync(command, { env, stdin });
    return answerOf(signalCode ? 128 + 9 : exitCode, stdout.toString(), stderr.toString(), command);
  }

  /** As call, without waiting. */
  async start(
    verb: Verb,
    plugin: string,
    conf: unknown,
    options: CallOptions = {},
    target: Target = {},
  ): Promise<Answer> {
    const { command, env, stdin } = this.#prepare(verb, plugin, conf, options, target);
    const child = Bun.spawn(command, { env, stdin, stdout: "pipe", stderr: "pipe" });
    const [stdout, stderr, exitCode] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    return answerOf(exitCode, stdout, stderr, command);
  }

  #prepare(verb: Verb, plugin: string, conf: unknown, options: CallOptions, { containerId, netns }: Target) {
    const path = options.path ?? [this.plugins, REFERENCE];
    const variables = {
      PATH: process.env.PATH,
      CNI_COMMAND: verb,
      CNI_CONTAINERID: containerId,
      CNI_NETNS: netns,
      CNI_IFNAME: options.ifname ?? (containerId === undefined ? undefined : "eth0"),
      CNI_ARGS: options.args,
      CNI_PATH: path.join(":"),
      ...options.environment,
    };
    const env = Object.fromEntries(Object.entries(variables).filter(([, value]) => value !== undefined));
    const text = typeof conf === "string" ? conf : JSON.stringify(conf);
    const command = ["nsenter", `--net=${this.namespace.path}`, ...(options.under ?? []), plugin];
    return { command, env: env as Record<string, string>, stdin: Buffer.from(text) };
  }

  [Symbol.dispose](): void {
    for (const pod of this.#pods) pod[Symbol.dispose]();
    this.namespace[Symbol.dispose]();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** A container: an id and a network namespace. Goes away with its host, or before. */
export class Pod implements Disposable {
  readonly host: Host;
  readonly containerId: string;
  readonly namespace = new Namespace();

  constructor(host: Host, containerId: string) {
    this.host = host;
    this.containerId = containerId;
  }

  get #target(): Target {
    return { containerId: this.containerId, netns: this.namespace.path };
  }

  call(verb: Verb, plugin: string, conf: unknown, options?: CallOptions): Answer {
    return this.host.call(verb, plugin, conf, options, this.#target);
  }

  async start(verb: Verb, plugin: string, conf: unknown, options?: CallOptions): Promise<Answer> {
    return await this.host.start(verb, plugin, conf, options, this.#target);
  }

  /** The result of ADD; throws what the plugin said when it failed, or when it said anything on standard error. */
  add(plugin: string, conf: unknown, options?: CallOptions): Json {
    return whole(this.call("ADD", plugin, conf, options), "ADD");
  }

  /** Throws as add does. */
  del(plugin: string, conf: unknown, options?: CallOptions): void {
    whole(this.call("DEL", plugin, conf, options), "DEL");
  }

  /** Runs shell commands in the pod's namespace. */
  run(commands: string): string {
    return this.namespace.run(commands);
  }

  [Symbol.dispose](): void {
    this.namespace[Symbol.dispose]();
  }
}

function answerOf(exitCode: number, stdout: string, stderr: string, command: readonly string[]): Answer {
  try {
    return { exitCode, stdout, stderr, json: stdout.trim() === "" ? undefined : JSON.parse(stdout) };
  } catch {
    throw new Error(`${command.join(" ")}: exit ${exitCode}: no JSON on standard output: ${stdout}\n${stderr}`);
  }
}

function whole({ exitCode, stdout, stderr, json }: Answer, verb: Verb): Json {
  if (exitCode !== 0 || stderr !== "") throw new Error(`${verb}: exit ${exitCode}: ${stdout}${stderr}`);
  return json;
}
