// Measures an outage from outside, by two witnesses that know nothing of flanneld: a ping that runs through it, and
// `ip monitor` on the node.

import { setTimeout as sleep } from "node:timers/promises";
import type { Address } from "../../ip/address.ts";
import { namespacePath } from "./layout.ts";
import type { Endpoint } from "./ping.ts";
import { TOOL_ENVIRONMENT } from "./run.ts";

/** Between two packets: how finely the outage is measured. */
export const INTERVAL_MS = 5;

export interface Reply {
  /** Seconds since the epoch. */
  readonly at: number;
  readonly sequence: number;
}

/**
 * The replies in the output of `ping -D`: "[1700000000.123456] 64 bytes from 10.5.2.2: icmp_seq=12 ttl=62 time=0.10
 * ms".
 */
export function parseReplies(output: string): Reply[] {
  return [...output.matchAll(/^\[(\d+\.\d+)\] \d+ bytes from .*icmp_seq=(\d+) .*time=/gm)].map((match) => ({
    at: Number(match[1]),
    sequence: Number(match[2]),
  }));
}

export interface Outage {
  /** Packets without a reply, between replies on both sides. */
  readonly lost: number;
  /** Of how many sent until the last reply. */
  readonly sent: number;
  /** The longest silence between two replies, milliseconds. */
  readonly silenceMs: number;
}

/** ping numbers from 1, and wraps at 16 bits: good for 65,535 packets, five minutes at our interval. */
export function outageOf(replies: readonly Reply[]): Outage {
  const sent = Math.max(0, ...replies.map((reply) => reply.sequence));
  let silenceMs = 0;
  for (const [i, reply] of replies.entries()) {
    const before = replies[i - 1];
    if (before) silenceMs = Math.max(silenceMs, (reply.at - before.at) * 1000);
  }
  return { lost: sent - new Set(replies.map((reply) => reply.sequence)).size, sent, silenceMs };
}

export interface LinkEvent {
  /** Milliseconds, to compare with other events of one monitor. */
  readonly at: number;
  readonly kind: "deleted" | "up" | "down";
}

/**
 * Events of one link in the output of `ip -ts monitor link`: "[2026-01-31T12:00:00.123456] Deleted 3: flannel.1:
 * <BROADCAST,UP> …".
 */
export function parseLinkEvents(output: string, dev: string): LinkEvent[] {
  const events: LinkEvent[] = [];
  for (const match of output.matchAll(/^\[([\d\-T:.]+)\] (Deleted )?\d+: ([^:@]+)[^<]*<([^>]*)>/gm)) {
    const [, time = "", deleted, name, flags = ""] = match;
    if (name !== dev) continue;
    const kind = deleted ? "deleted" : flags.split(",").includes("UP") ? "up" : "down";
    events.push({ at: Date.parse(time), kind });
  }
  return events;
}

/** Milliseconds from the link's deletion until it was up again; undefined when one of the two was not seen. */
export function absenceMs(events: readonly LinkEvent[]): number | undefined {
  const deleted = events.findIndex((event) => event.kind === "deleted");
  const gone = events[deleted];
  const back = events.slice(deleted + 1).find((event) => event.kind === "up");
  return gone && back ? back.at - gone.at : undefined;
}

/** A tool that runs until it is told to stop; what it has said is readable meanwhile. */
export class Watcher {
  readonly #child: Bun.Subprocess<"ignore", "pipe", "ignore">;
  readonly #reading: Promise<void>;
  #output = "";

  constructor(command: readonly string[], signal: AbortSignal) {
    this.#child = Bun.spawn([...command], {
      env: TOOL_ENVIRONMENT,
      cwd: "/",
      stdin: "ignore",
      stdout: "pipe",
      stderr: "ignore",
      signal,
    });
    this.#reading = this.#read();
  }

  get output(): string {
    return this.#output;
  }

  async stop(): Promise<string> {
    this.#child.kill("SIGINT");
    await this.#reading;
    return this.#output;
  }

  async #read(): Promise<void> {
    const decoder = new TextDecoder();
    for await (const chunk of this.#child.stdout) this.#output += decoder.decode(chunk, { stream: true });
  }
}

export function watchPing(from: Endpoint, to: Address, signal: AbortSignal): Watcher {
  const command = ["ping", "-n", "-D", "-i", `${INTERVAL_MS / 1000}`, to];
  return new Watcher(["nsenter", `--net=${namespacePath(from.namespace)}`, ...command], signal);
}

export function watchLinks(namespace: string, signal: AbortSignal): Watcher {
  return new Watcher(["ip", "-n", namespace, "-ts", "monitor", "link"], signal);
}

/** Whether `condition` came true within the time. */
export async function until(condition: () => boolean, timeoutMs: number, signal: AbortSignal): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  while (!condition()) {
    signal.throwIfAborted();
    if (performance.now() > deadline) return false;
    await sleep(INTERVAL_MS);
  }
  return true;
}
