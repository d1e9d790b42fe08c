// The driver under a real reconciler, with a real shell: each command appends a line to a file, which is compared.

import { afterEach, beforeEach, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type CommandEffect, NODE_EFFECT } from "../state/backend_object.ts";
import { keyOf } from "../state/object.ts";
import { CommandDriver } from "./commands.ts";
import { DEFAULT_PATIENCE } from "./patience.ts";
import { type ReconcileEvent, Reconciler } from "./reconciler.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "flannel-commands-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

const PEER: CommandEffect = {
  kind: "command",
  name: "10.5.2.0/24",
  add: { option: "SubnetAddCommand", text: 'read DATA; echo "add $SUBNET $DATA" >> $LOG' },
  remove: { option: "SubnetRemoveCommand", text: 'read DATA; echo "remove $SUBNET $DATA" >> $LOG' },
  environment: { SUBNET: "10.5.2.0/24" },
  stdin: "a",
  timeoutSeconds: 30,
  run: "run 1",
};
const NODE: CommandEffect = {
  ...PEER,
  name: NODE_EFFECT,
  add: { option: "PostStartupCommand", text: "echo post >> $LOG" },
  remove: { option: "ShutdownCommand", text: "" },
  stdin: "",
};

function peer(n: number, fields: Partial<CommandEffect> = {}): CommandEffect {
  return withLog({ ...PEER, name: `10.5.${n}.0/24`, environment: { SUBNET: `10.5.${n}.0/24` }, ...fields });
}

function withLog(effect: CommandEffect): CommandEffect {
  return { ...effect, environment: { ...effect.environment, LOG: join(directory, "log") } };
}

/** What ran since the last call. */
function ran(): string[] {
  const path = join(directory, "log");
  if (!existsSync(path)) return [];
  const lines = readFileSync(path, "utf8").trim().split("\n");
  rmSync(path);
  return lines;
}

/** A flanneld from start to end, as far as commands go. */
class Run implements Disposable {
  readonly events: ReconcileEvent[] = [];
  readonly givenUp: string[] = [];
  readonly reconciler: Reconciler;
  readonly #driver: CommandDriver;
  readonly #stop = new AbortController();

  constructor(era = "boot 1") {
    const path = join(directory, "commands.json");
    this.#driver = new CommandDriver({
      file: {
        read: () => (existsSync(path) ? readFileSync(path, "utf8") : undefined),
        write: (text) => writeFileSync(path, text),
      },
      era,
      onGivenUp: ({ message }) => this.givenUp.push(message),
    });
    const patience = { ...DEFAULT_PATIENCE, firstMs: 1, maxMs: 20 };
    this.reconciler = new Reconciler([this.#driver], { patience, report: (event) => this.events.push(event) });
    void this.reconciler.run(this.#stop.signal);
  }

  async wants(effects: readonly CommandEffect[], complete = true): Promise<string[]> {
    this.reconciler.desire(new Map(effects.map((effect) => [keyOf(effect), effect])), "all", complete);
    await this.reconciler.settled();
    return ran();
  }

  async quiet(): Promise<void> {
    while (this.reconciler.troubles.size > 0) await Bun.sleep(5);
    await this.reconciler.settled();
  }

  get failures(): string[] {
    return this.events.flatMap((event) => (event.kind === "failed" ? [event.trouble.reason.message] : []));
  }

  [Symbol.dispose](): void {
    this.#stop.abort();
    this.#driver[Symbol.dispose]();
  }
}

test("CommandDriver runs the node's command first, and each peer's with its environment and data", async () => {
  using run = new Run();
  const lines = await run.wants([peer(2), peer(3, { stdin: "b" }), withLog(NODE)]);
  expect(lines[0]).toBe("post");
  expect(lines.slice(1).sort()).toEqual(["add 10.5.2.0/24 a", "add 10.5.3.0/24 b"]);
  expect(await run.wants([peer(2), withLog(NODE)])).toEqual(["remove 10.5.3.0/24 b"]);
});

test("CommandDriver runs nothing again at a restart, and removes who left meanwhile by what was configured then", async () => {
  {
    using run = new Run();
    await run.wants([withLog(NODE), peer(2), peer(3)]);
  }
  using run = new Run();
  const newText = { remove: { option: "SubnetRemoveCommand", text: "echo other >> $LOG" } };
  expect(await run.wants([withLog(NODE)], false)).toEqual([]);
  expect(await run.wants([withLog(NODE), peer(2, newText)])).toEqual(["remove 10.5.3.0/24 a"]);
  expect(run.events).toEqual([]);
  expect(await run.wants([withLog(NODE)])).toEqual(["other"]); // noted at the restart, without a run
});

test("CommandDriver undoes what is wanted otherwise, with the old data, before it does it anew", async () => {
  using run = new Run();
  await run.wants([peer(2)]);
  expect(await run.wants([peer(2, { stdin: "b" })])).toEqual(["remove 10.5.2.0/24 a", "add 10.5.2.0/24 b"]);
});

test("CommandDriver does everything anew after another run of the identity's command", async () => {
  {
    using run = new Run();
    await run.wants([withLog(NODE), peer(2)]);
  }
  using run = new Run();
  const anew = { run: "run 2" };
  const lines = await run.wants([withLog({ ...NODE, ...anew }), peer(2, anew)]);
  expect(lines).toEqual(["remove 10.5.2.0/24 a", "post", "add 10.5.2.0/24 a"]);
});

test("CommandDriver takes records of another boot for nothing", async () => {
  {
    using run = new Run();
    await run.wants([peer(2), peer(3)]);
  }
  using run = new Run("boot 2");
  expect(await run.wants([peer(2)])).toEqual(["add 10.5.2.0/24 a"]);
});

test.each([
  ["half a file", "{"],
  ["another version", '{"version":2,"era":"boot 1","effects":[]}'],
  ["no effects", '{"version":1,"era":"boot 1","effects":[{"kind":"command","name":"x"},null,7]}'],
])("CommandDriver takes %s for no records", async (_, text) => {
  writeFileSync(join(directory, "commands.json"), text);
  using run = new Run();
  expect(await run.wants([peer(2)])).toEqual(["add 10.5.2.0/24 a"]);
});

test("CommandDriver tries a failing command again, after undoing what it may have half done", async () => {
  using run = new Run();
  const text = 'echo "half" >> $LOG; test -e $LOG.go || { echo not yet >&2; exit 3; }';
  const failing = peer(2, { add: { option: "SubnetAddCommand", text } });
  const lines = await run.wants([failing, peer(3)]);
  expect(lines).toContain("add 10.5.3.0/24 a"); // stops nobody else
  expect(run.failures).toEqual(["cannot run SubnetAddCommand for 10.5.2.0/24: exit code 3: not yet"]);
  writeFileSync(join(directory, "log.go"), "");
  await run.quiet();
  expect(run.events.at(-1)?.kind).toBe("recovered");
  expect(ran().slice(-2)).toEqual(["remove 10.5.2.0/24 a", "half"]);
});

test("CommandDriver undoes and does anew what a crash left in the middle", async () => {
  {
    using run = new Run();
    await run.wants([peer(2), peer(3)]);
  }
  const path = join(directory, "commands.json");
  const file = JSON.parse(readFileSync(path, "utf8"));
  file.effects[0].run = "";
  writeFileSync(path, JSON.stringify(file));
  using run = new Run();
  const [name] = [file.effects[0].name];
  expect(await run.wants([peer(2), peer(3)])).toEqual([`remove ${name} a`, `add ${name} a`]);
});

test("CommandDriver gives up a command that cannot undo, and says so once", async () => {
  using run = new Run();
  const remove = { option: "SubnetRemoveCommand", text: "echo try >> $LOG; echo No such process >&2; exit 2" };
  await run.wants([peer(2, { remove })]);
  ran();
  run.reconciler.desire(new Map(), "all", true);
  await run.reconciler.settled();
  await run.quiet();
  expect(ran()).toEqual(Array(5).fill("try"));
  expect(run.givenUp).toEqual(["cannot run SubnetRemoveCommand for 10.5.2.0/24: exit code 2: No such process"]);
  expect(await run.wants([peer(2)])).toEqual(["add 10.5.2.0/24 a"]);
});

test("CommandDriver does nothing for peers while the node's command fails", async () => {
  using run = new Run();
  const node = withLog({ ...NODE, add: { option: "PostStartupCommand", text: "test -e $LOG.go" } });
  expect(await run.wants([node, peer(2)])).toEqual([]);
  expect(run.failures[0]).toBe("cannot run PostStartupCommand: exit code 1");
  writeFileSync(join(directory, "log.go"), "");
  await run.quiet();
  expect(ran()).toEqual(["add 10.5.2.0/24 a"]);
});

test("a reconciler is not settled while a command runs, whenever it is asked", async () => {
  using run = new Run();
  const slow = { option: "SubnetAddCommand", text: "echo begin >> $LOG.begun; sleep 0.2; echo end >> $LOG" };
  run.reconciler.desire(new Map([[keyOf(peer(2)), peer(2, { add: slow })]]), "all", true);
  while (!existsSync(join(directory, "log.begun"))) await Bun.sleep(5);
  await run.reconciler.settled();
  expect(ran()).toEqual(["end"]);
});

test("CommandDriver runs nothing that it cannot record", async () => {
  using run = new Run();
  rmSync(directory, { recursive: true });
  await run.wants([peer(2)]);
  expect(run.failures[0]).toContain("ENOENT");
  writeFileSync(directory, ""); // for afterEach
});

test("CommandDriver runs the commands of several peers at once, and not of all", async () => {
  using run = new Run();
  // Each of a pair waits for the other: one after the other they would never end.
  const pair = (n: number) => `touch $LOG.${n}; until test -e $LOG.${n ^ 1}; do sleep 0.01; done`;
  const text = (n: number) => `echo begin >> $LOG; ${pair(n)}; echo end >> $LOG`;
  const peers = Array.from({ length: 24 }, (_, i) => peer(i, { add: { option: "SubnetAddCommand", text: text(i) } }));
  let [now, most] = [0, 0];
  for (const line of await run.wants(peers)) {
    now += line === "begin" ? 1 : -1;
    most = Math.max(most, now);
  }
  expect([now, most >= 2, most <= 8]).toEqual([0, true, true]);
  expect(run.events).toEqual([]);
});
