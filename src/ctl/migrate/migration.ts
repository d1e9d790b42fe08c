// One pass over two stores: read both, decide for each key, write. A pass starts from what the stores hold, never from what a watch
// told, so that one that was missed, repeated or cut off by a kill cannot do harm; every write is a compare-and-swap, so that a node
// that is quicker has its way and the next pass looks again.

import { parseLeaseKey } from "../../lease/key.ts";
import type { Registry, RegistryEntry } from "../../subnet/registry.ts";
import { StoreError } from "../../subnet/store_error.ts";
import { inBatches } from "../in_batches.ts";
import { configState } from "./config_state.ts";
import { EndTimes } from "./end_times.ts";
import {
  type Agreed,
  type CopyTiming,
  type Decision,
  decide,
  type Held,
  otherSide,
  type Side,
  type Step,
} from "./reconcile.ts";

/** Writes at a time: the order of creation is nearly kept, and 5,000 leases take seconds. */
const LIMIT = 16;

export type MigrationEvent =
  | { readonly kind: "written"; readonly key: string; readonly step: Step }
  /** Only an operator can settle it. */
  | { readonly kind: "problem"; readonly key: string; readonly reason: string }
  | { readonly kind: "config copied"; readonly on: Side }
  /** A store is not the one it was: nothing that is missing there counts as removed. */
  | { readonly kind: "data lost"; readonly side: Side };

export interface Pass {
  /** Steps that were due; 0 says that the leases were in step. */
  readonly steps: number;
  /** Keys on which somebody else was quicker. */
  readonly conflicts: number;
  /** Keys → why they stay different. */
  readonly problems: ReadonlyMap<string, string>;
  /** Leases by the side that their node lives on; reservations are of no side. */
  readonly owned: { readonly [S in Side]: readonly string[] };
  readonly reserved: number;
}

export interface MigrationOptions {
  readonly timing: CopyTiming;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly onEvent: (event: MigrationEvent) => void;
}

type Entries = ReadonlyMap<string, RegistryEntry>;

export class Migration {
  readonly #sides: { readonly [S in Side]: Registry };
  readonly #ends: { readonly [S in Side]: EndTimes };
  readonly #options: MigrationOptions;
  readonly #agreed = new Map<string, Agreed>();
  readonly #histories: { [S in Side]?: string } = {};
  #problems: ReadonlyMap<string, string> = new Map();
  #config: string | undefined;
  #lost: Side | undefined;

  constructor(from: Registry, to: Registry, options: MigrationOptions) {
    this.#sides = { from, to };
    this.#ends = { from: new EndTimes(from), to: new EndTimes(to) };
    this.#options = options;
  }

  /** Brings the leases of both sides in step. `scan`: asks also whether leases were renewed. Throws StoreError. */
  async pass(scan: boolean, signal: AbortSignal): Promise<Pass> {
    const [from, to] = await Promise.all([this.#read("from", signal), this.#read("to", signal)]);
    // Read after the leases: whoever takes a side away takes its configuration away with them.
    await this.#readConfig(signal);
    const sides = { from, to };
    const keys = new Set([...from.keys(), ...to.keys(), ...this.#agreed.keys()]);
    // Whether an entry goes with its origin hangs on whether a node renewed it, and that may have been a moment ago.
    const isStale = (key: string) => scan || !from.has(key) || !to.has(key);
    await this.#ends.from.learn(from.values(), isStale, signal);
    await this.#ends.to.learn(to.values(), isStale, signal);

    const due: { readonly key: string; readonly step: Step; readonly decision: Decision }[] = [];
    const problems = new Map<string, string>();
    for (const key of keys) {
      const pair = { from: this.#held("from", from.get(key)), to: this.#held("to", to.get(key)) };
      const decision = decide(pair, this.#agreed.get(key), this.#options.timing, this.#options.now());
      if (decision.problem !== undefined) problems.set(key, decision.problem);
      if (decision.step) due.push({ key, step: decision.step, decision });
      else this.#agree(key, decision.agreed);
    }
    this.#tell(problems);
    const outcomes = await inBatches(due, LIMIT, async ({ key, step, decision }) => {
      const entry = sides[step.on].get(key);
      if (!(await this.#write(key, entry, step, signal))) return false;
      this.#agree(key, decision.agreed);
      this.#options.onEvent({ kind: "written", key, step });
      return true;
    });
    return { steps: due.length, conflicts: outcomes.filter((done) => !done).length, problems, ...this.#count() };
  }

  /** Brings the configuration in step: the old side's is copied once, after that whoever changes it. Throws StoreError. */
  async passConfig(signal: AbortSignal): Promise<void> {
    const { texts, state } = await this.#readConfig(signal);
    const source = state.kind === "copy" ? state.from : "from";
    const text = texts[source];
    if (text === undefined) return;
    if (state.kind === "copy") {
      await this.#sides[otherSide(source)].setConfig(text, signal);
      this.#options.onEvent({ kind: "config copied", on: otherSide(source) });
    }
    this.#config = text;
    this.#lost = undefined;
  }

  /** Throws StoreError when the two sides are no longer, or not yet, one network. */
  async #readConfig(signal: AbortSignal) {
    const { from, to } = this.#sides;
    const texts = { from: (await from.config(signal)).text, to: (await to.config(signal)).text };
    const state = configState(texts, this.#config, this.#lost);
    if (state.kind === "contradict") throw this.#contradiction();
    if (state.kind === "gone") throw this.#gone(state.side);
    return { texts, state };
  }

  async #read(side: Side, signal: AbortSignal): Promise<Entries> {
    const { entries, history } = await this.#sides[side].entries(signal);
    const before = this.#histories[side];
    this.#histories[side] = history;
    if (before !== undefined && before !== history) {
      this.#agreed.clear();
      // With etcd v2 it may as well be that somebody removed the whole directory; then a configuration that is gone stays gone.
      if (this.#sides[side].kind !== "etcd2") this.#lost = side;
      this.#options.onEvent({ kind: "data lost", side });
    }
    return new Map(entries.filter(({ key }) => parseLeaseKey(key)).map((entry) => [entry.key, entry]));
  }

  #held(side: Side, entry: RegistryEntry | undefined): Held | undefined {
    return entry && { value: entry.value, reserved: entry.reserved, endsAt: this.#ends[side].of(entry) };
  }

  #agree(key: string, agreed: Agreed | undefined): void {
    if (agreed) this.#agreed.set(key, agreed);
    else this.#agreed.delete(key);
  }

  /** false: somebody changed it meanwhile. */
  async #write(key: string, entry: RegistryEntry | undefined, step: Step, signal: AbortSignal): Promise<boolean> {
    const registry = this.#sides[step.on];
    const now = this.#options.now();
    const ttlMs = step.kind === "remove" || step.endsAt === undefined ? undefined : Math.max(1, step.endsAt - now);
    const written = await (async () => {
      switch (step.kind) {
        case "create":
          return registry.create(key, step.value, ttlMs, signal);
        case "replace":
          return entry && registry.replace(entry, step.value, ttlMs, signal);
        case "renew":
          if (!entry) return undefined;
          // With etcd v3 a renewal gives the whole time that the key's etcd lease was granted for, and the copy would end later than
          // its origin.
          return registry.kind === "etcd3"
            ? registry.replace(entry, entry.value, ttlMs, signal)
            : registry.renew(entry, ttlMs ?? 1, signal);
        case "remove":
          return entry && registry.remove(entry, signal);
        case "evict":
          if (!entry || (await registry.remove(entry, signal)) !== "removed") return undefined;
          return registry.create(key, step.value, ttlMs, signal);
      }
    })();
    if (typeof written === "object") this.#ends[step.on].note(written, ttlMs === undefined ? undefined : now + ttlMs);
    return typeof written === "object" || written === "removed";
  }

  #tell(problems: ReadonlyMap<string, string>): void {
    for (const [key, reason] of problems) {
      if (this.#problems.get(key) !== reason) this.#options.onEvent({ kind: "problem", key, reason });
    }
    this.#problems = problems;
  }

  #count(): Pick<Pass, "owned" | "reserved"> {
    const owned: { readonly [S in Side]: string[] } = { from: [], to: [] };
    let reserved = 0;
    for (const [key, agreed] of this.#agreed) {
      if (agreed.reserved) reserved++;
      else owned[agreed.owner].push(key);
    }
    return { owned, reserved };
  }

  #contradiction(): StoreError {
    const { from, to } = this.#sides;
    return new StoreError(
      "conflict",
      to.description,
      `cannot copy the configuration: ${from.description} and ${to.description} hold different ones; ` +
        "make them equal with flannelctl config set, or take the wrong one away",
    );
  }

  #gone(side: Side): StoreError {
    const { description } = this.#sides[side];
    const text =
      this.#config === undefined
        ? `cannot migrate: ${description} holds no network configuration; are --from and --to the right way round`
        : `cannot go on: ${description} holds no network configuration any more; if it was taken away, the migration is over; if it was ` +
          "lost, write it again and start anew; the other side was left as it is";
    return new StoreError("absent", description, text);
  }
}
