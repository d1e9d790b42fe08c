// Sees to it that every loaded connection has its security associations. charon keeps, renews and retries what has begun; what was refused, closed by the peer or
// never begun is begun here. Both ends want the same connection at the same time: the one of the lower address begins, the other waits a little, since two that
// begin at once may each take the other's first message for a peer that starts anew, and drop what it has.

import type { IkeConnection } from "../state/backend_object.ts";
import type { ViciClient } from "../vici/client.ts";
import type { Section } from "../vici/message.ts";
import { isSection } from "./ike_connection.ts";

const TICK_MS = 1_000;
/** The other end's time to begin. */
const COURTESY_MS = 3_000;
/** Between attempts, doubled each time. */
const FIRST_RETRY_MS = 2_000;
const LAST_RETRY_MS = 30_000;
/** Everything is looked at again, whatever the events said. */
const LOOK_TICKS = 60;
/** More than these are asked for by one question for all. */
const ASK_SINGLY = 20;

/** none: no IKE association; begun: charon is at it; bare: an IKE association without a tunnel. */
type State = "unknown" | "none" | "begun" | "bare" | "up";

interface Watched {
  readonly connection: IkeConnection;
  state: State;
  /** By performance.now(). */
  dueMs: number;
  attempts: number;
}

export class Associations implements Disposable {
  readonly #client: ViciClient;
  readonly #onLook: () => void;
  readonly #watched = new Map<string, Watched>();
  /** Names whose state must be asked for. */
  readonly #ask = new Set<string>();
  readonly #timer: ReturnType<typeof setInterval>;
  #ticks = 0;
  #busy = false;

  /** `onLook` is called once a minute. */
  constructor(client: ViciClient, onLook: () => void) {
    this.#client = client;
    this.#onLook = onLook;
    this.#timer = setInterval(() => void this.#tick(), TICK_MS);
    this.#timer.unref();
  }

  /** Keeps it up from now on. */
  want(connection: IkeConnection): void {
    const { name, localId, remoteId } = connection;
    const dueMs = performance.now() + (localId < remoteId ? 0 : COURTESY_MS);
    this.#watched.set(name, { connection, state: "unknown", dueMs, attempts: 0 });
    this.#ask.add(name);
    if (this.#ask.size === 1) setTimeout(() => void this.#tick(), 0);
  }

  forget(name: string): void {
    this.#watched.delete(name);
    this.#ask.delete(name);
  }

  /** Of child-updown or ike-updown: its sections are named after connections. */
  hear(message: Section): void {
    for (const name of Object.keys(message)) if (this.#watched.has(name)) this.#ask.add(name);
  }

  async #tick(): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    try {
      if (++this.#ticks % LOOK_TICKS === 0) {
        for (const name of this.#watched.keys()) this.#ask.add(name);
        this.#onLook();
      }
      await this.#look();
      await this.#begin();
    } catch {
      // charon is gone or slow: the driver hears of the one, the next tick of the other
    } finally {
      this.#busy = false;
    }
  }

  async #look(): Promise<void> {
    const names = [...this.#ask];
    this.#ask.clear();
    if (names.length === 0) return;
    const filters: Section[] = names.length > ASK_SINGLY ? [{}] : names.map((name) => ({ ike: name }));
    const found = new Map<string, State>();
    try {
      for (const filter of filters) {
        for (const message of await this.#client.list("list-sas", "list-sa", { ...filter, noblock: "yes" })) {
          for (const [name, value] of Object.entries(message)) {
            if (isSection(value)) found.set(name, better(found.get(name), stateOf(value)));
          }
        }
      }
    } catch (error) {
      for (const name of names) if (this.#watched.has(name)) this.#ask.add(name);
      throw error;
    }
    for (const name of names) this.#know(name, found.get(name) ?? "none");
  }

  #know(name: string, state: State): void {
    const watched = this.#watched.get(name);
    if (!watched) return;
    if (watched.state === "up" && state !== "up") {
      watched.attempts = 0;
      const { localId, remoteId } = watched.connection;
      watched.dueMs = performance.now() + (localId < remoteId ? 0 : COURTESY_MS);
    }
    watched.state = state;
  }

  async #begin(): Promise<void> {
    const now = performance.now();
    for (const [name, watched] of this.#watched) {
      if ((watched.state !== "none" && watched.state !== "bare") || watched.dueMs > now) continue;
      // What charon does about it comes as an event, or shows when it is asked for.
      this.#ask.add(name);
      if (watched.state === "bare" && watched.attempts === 0) {
        watched.attempts = 1; // the tunnel may be the next message
        watched.dueMs = now + FIRST_RETRY_MS;
        continue;
      }
      watched.dueMs = now + Math.min(FIRST_RETRY_MS * 2 ** watched.attempts, LAST_RETRY_MS);
      watched.attempts++;
      await this.#client.request("initiate", { ike: name, child: watched.connection.child, timeout: "-1" });
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#watched.clear();
  }
}

function stateOf(sa: Section): State {
  const children = isSection(sa["child-sas"]) ? Object.values(sa["child-sas"]) : [];
  const stands = children.some((child) => isSection(child) && /^(INSTALLED|REKEY|UPDATING)/.test(`${child.state}`));
  if (stands) return "up";
  return sa.state === "ESTABLISHED" && children.length === 0 ? "bare" : "begun";
}

const ORDER: readonly State[] = ["none", "bare", "begun", "up"];

function better(a: State | undefined, b: State): State {
  return a !== undefined && ORDER.indexOf(a) > ORDER.indexOf(b) ? a : b;
}
