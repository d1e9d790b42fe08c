// The driver of commands: runs what an extension's configuration says for this node and for each peer. What a command did cannot be read back, so it is
// recorded in a file, and the records are this driver's kernel: a start that finds an effect recorded as done runs nothing; one that was left in the middle,
// or is wanted otherwise now, is undone by the command that was configured when it was made, and done anew.

import { type CommandEffect, type ConfiguredCommand, commandTitle, hasSameEffect } from "../state/backend_object.ts";
import { type ObjectKey, type ObjectKind, objectKey } from "../state/object.ts";
import type { Operation } from "../state/operation.ts";
import { formatRecords, nodeFirst, parseRecords, type RecordFile } from "./command_records.ts";
import type { Driver, Outcome } from "./driver.ts";
import { Mirror } from "./mirror.ts";
import { runShell } from "./shell.ts";

export interface CommandDriverOptions {
  readonly file: RecordFile;
  /** Records of another era are void (era.ts). */
  readonly era: string;
  /** Told when a command that should undo something is given up. */
  readonly onGivenUp: (error: Error) => void;
}

/** Commands that run at once; most wait for the kernel or the network rather than for a processor. */
const PARALLEL = 8;
/** Most commands that undo fail because it is gone already, and will for ever. The reconciler's back-off puts the last try half a minute after the first. */
const REMOVE_TRIES = 5;

export class CommandDriver implements Driver {
  readonly kinds: readonly ObjectKind[] = ["command"];
  readonly mirror = new Mirror();
  readonly inDoubt = false;
  readonly #options: CommandDriverOptions;
  readonly #records: Map<ObjectKey, CommandEffect>;
  readonly #removals = new Map<ObjectKey, number>();
  readonly #stop = new AbortController();

  constructor(options: CommandDriverOptions) {
    this.#options = options;
    const effects = parseRecords(options.file.read(), options.era);
    this.#records = new Map(effects.map((effect) => [objectKey.command(effect.name), effect]));
    for (const effect of effects) this.mirror.see(effect, true);
  }

  watch(): void {} // nobody else has a hand in it

  async refresh(): Promise<void> {} // what is known is in the records

  async apply(operations: readonly Operation[]): Promise<readonly Outcome[]> {
    const outcomes = new Map<ObjectKey, Outcome>();
    const effects = operations.flatMap(({ key, verb, object }) =>
      object.kind === "command" ? [{ key, verb, effect: object }] : [],
    );
    const wanted = effects.filter(({ verb }) => verb !== "delete");
    try {
      await this.#undo(effects, outcomes);
      const [node, peers] = nodeFirst(wanted, ({ effect }) => effect);
      await this.#make(node, outcomes);
      const failed = node.find(({ key }) => outcomes.get(key));
      if (!failed) await this.#make(peers, outcomes);
      else {
        const reason = new Error(`waits for ${failed.effect.add.option}, which failed`);
        for (const { key } of peers) outcomes.set(key, reason);
      }
    } catch (error) {
      // Without a record nothing is run: it could never be undone.
      for (const { key } of effects) if (!outcomes.has(key)) outcomes.set(key, error as Error);
    }
    return operations.map(({ key, object }) =>
      object.kind === "command" ? outcomes.get(key) : new Error(`the driver of commands got a ${object.kind}`),
    );
  }

  /** Takes away what is no longer wanted, and what is wanted otherwise. */
  async #undo(effects: readonly Task[], outcomes: Map<ObjectKey, Outcome>): Promise<void> {
    const tasks = effects.filter(({ key, verb, effect }) => {
      const record = this.#records.get(key);
      return record && (verb === "delete" || !hasSameEffect(effect, record));
    });
    if (tasks.length === 0) return;
    for (const { key } of tasks) this.#begin(key, this.#records.get(key));
    this.#save();
    await inParallel(tasks, async ({ key, verb }) => {
      const record = this.#records.get(key);
      const error = record && (await this.#run(record, record.remove));
      // What is done anew says itself whether it can: a peer's device may be gone with what was to be undone.
      if (verb !== "delete") return;
      if (error && this.#mayTryAgain(key)) {
        outcomes.set(key, error);
        return;
      }
      if (error) this.#options.onGivenUp(error);
      this.#removals.delete(key);
      this.#records.delete(key);
      this.mirror.confirm(key, undefined);
    });
    this.#save();
  }

  #mayTryAgain(key: ObjectKey): boolean {
    const tries = (this.#removals.get(key) ?? 0) + 1;
    this.#removals.set(key, tries);
    return tries < REMOVE_TRIES;
  }

  async #make(tasks: readonly Task[], outcomes: Map<ObjectKey, Outcome>): Promise<void> {
    if (tasks.length === 0) return;
    const fresh = tasks.filter(({ key, effect }) => {
      const record = this.#records.get(key);
      return !record || !hasSameEffect(effect, record);
    });
    for (const { key, effect } of fresh) this.#begin(key, effect);
    this.#save();
    await inParallel(fresh, async ({ key, effect }) => outcomes.set(key, await this.#run(effect, effect.add)));
    for (const { key, effect } of tasks) {
      this.#removals.delete(key);
      if (outcomes.get(key)) continue;
      this.#records.set(key, effect);
      this.mirror.confirm(key, effect);
    }
    this.#save();
  }

  /** From here on the effect may be half there. */
  #begin(key: ObjectKey, effect: CommandEffect | undefined): void {
    if (!effect) return;
    const begun = { ...effect, run: "" };
    this.#records.set(key, begun);
    this.mirror.confirm(key, begun);
  }

  async #run(effect: CommandEffect, command: ConfiguredCommand): Promise<Outcome> {
    const { environment, stdin, timeoutSeconds } = effect;
    const { text } = command;
    if (text === "") return undefined;
    const title = commandTitle(effect, command);
    try {
      await runShell({ title, text, environment, stdin, timeoutMs: timeoutSeconds * 1000 }, this.#stop.signal);
      return undefined;
    } catch (error) {
      return error instanceof Error ? error : new Error(String(error));
    }
  }

  #save(): void {
    this.#options.file.write(formatRecords(this.#options.era, this.#records.values()));
  }

  [Symbol.dispose](): void {
    this.#stop.abort();
  }
}

interface Task {
  readonly key: ObjectKey;
  readonly verb: Operation["verb"];
  readonly effect: CommandEffect;
}

async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<unknown>): Promise<void> {
  const rest = [...items];
  const worker = async () => {
    for (let item = rest.shift(); item !== undefined; item = rest.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: PARALLEL }, worker));
}
