import { Database } from "bun:sqlite";
import { afterEach, describe, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type EmbeddedOptions, EmbeddedRegistry } from "../../src/subnet/embedded.ts";
import { StoreError } from "../../src/subnet/store_error.ts";
import { collect } from "./registry_contract.ts";

const VALUE = '{"PublicIP":"192.0.2.1"}';
const opened: Disposable[] = [];
let controller = new AbortController();
let directory = "";

async function open(name: string, options: Partial<EmbeddedOptions> = {}): Promise<EmbeddedRegistry> {
  if (directory === "") directory = mkdtempSync(join(tmpdir(), "flannel-embedded-"));
  const registry = await EmbeddedRegistry.open(join(directory, name), options, controller.signal);
  opened.push(registry);
  return registry;
}

afterEach(() => {
  controller.abort();
  controller = new AbortController();
  for (const registry of opened.splice(0)) registry[Symbol.dispose]();
  if (directory !== "") rmSync(directory, { recursive: true, force: true });
  directory = "";
});

/** The StoreError that `promise` rejects with. */
async function failure(promise: Promise<unknown>): Promise<StoreError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof StoreError)) throw new Error(`want a StoreError, got ${error}`);
  return error;
}

function removeStore(path: string): void {
  for (const suffix of ["", "-wal", "-shm"]) rmSync(path + suffix, { force: true });
}

describe("a file that cannot be a store is refused with its path, what is wrong and what to do", () => {
  function make(name: string): string {
    directory = mkdtempSync(join(tmpdir(), "flannel-embedded-"));
    return join(directory, name);
  }
  const rows: [string, (path: string) => void, string, RegExp][] = [
    ["no directory", () => {}, "a/b/store.db", /ENOENT: .*\/a\/b is missing; make its directory/],
    ["a directory", (path) => mkdirSync(path), "store.db", /EISDIR; it is a directory; give the path of a file/],
    [
      "under a file",
      (path) => writeFileSync(join(path, ".."), ""),
      "file/store.db",
      /ENOTDIR; part of its path is a file/,
    ],
    [
      "no database",
      (path) => writeFileSync(path, "x".repeat(5000)),
      "store.db",
      /SQLITE_NOTADB .*give another --store-file/,
    ],
    [
      "another program's",
      (path) => new Database(path).run("CREATE TABLE t (a)"),
      "store.db",
      /database of another program/,
    ],
    [
      "a newer one",
      (path) =>
        new Database(path).run(`PRAGMA application_id = ${0x666c5453}; PRAGMA user_version = 9; CREATE TABLE t (a)`),
      "store.db",
      /its schema is version 9, this program knows 1/,
    ],
  ];
  test.each(rows)("%s", async (_title, prepare, name, message) => {
    const path = make(name);
    prepare(path);
    const error = await failure(EmbeddedRegistry.open(path, {}, controller.signal));
    expect(error.message).toMatch(message);
    expect(error.message).toContain(path);
  });

  test("damaged pages", async () => {
    const registry = await open("store.db");
    for (let i = 0; i < 200; i++) await registry.create(`10.5.${i}.0-24`, VALUE, undefined, controller.signal);
    registry[Symbol.dispose]();
    const path = join(directory, "store.db");
    const bytes = new Uint8Array(await Bun.file(path).arrayBuffer());
    writeFileSync(path, bytes.fill(0xa5, 4096));
    const reading = open("store.db").then((damaged) => damaged.entries(controller.signal));
    const error = await failure(reading);
    expect(error.reason).toBe("invalid");
    expect(error.message).toContain("it is damaged: restore a copy");
  });
});

test("the file is made for its owner alone, in a directory that is made when its parent exists", async () => {
  directory = mkdtempSync(join(tmpdir(), "flannel-embedded-"));
  await open("flannel/store.db");
  expect(statSync(join(directory, "flannel/store.db")).mode & 0o777).toBe(0o600);
});

test("a store that is closed leaves no file open", async () => {
  const registry = await open("store.db");
  await registry.setConfig("{}", controller.signal);
  const seen = collect(registry.watch((await registry.entries(controller.signal)).revision, controller.signal));
  controller.abort();
  await seen.done;
  registry[Symbol.dispose]();
  const held = readdirSync("/proc/self/fd").map((fd) => {
    const link = join("/proc/self/fd", fd);
    return existsSync(link) ? readlinkSync(link) : "";
  });
  expect(held.filter((path) => path.startsWith(directory))).toEqual([]);
});

test("a lease outlives a wall clock that was set a day ahead, or back", async () => {
  let wall = 1_800_000_000_000;
  let uptime = 5000;
  const clock = { boot: "first", uptimeMs: () => uptime, wallMs: () => wall };
  const first = await open("store.db", { clock });
  await first.create("10.5.1.0-24", VALUE, 60_000, controller.signal);
  wall += 24 * 60 * 60 * 1000;
  const second = await open("store.db", { clock });
  expect((await second.entries(controller.signal)).entries).toHaveLength(1);
  wall -= 48 * 60 * 60 * 1000;
  uptime += 60_001;
  const third = await open("store.db", { clock });
  expect((await third.entries(controller.signal)).entries).toHaveLength(0);
});

test("after a reboot the time that passed counts", async () => {
  const wall = 1_800_000_000_000;
  const before = await open("store.db", { clock: { boot: "first", uptimeMs: () => 5000, wallMs: () => wall } });
  await before.create("10.5.1.0-24", VALUE, 60_000, controller.signal);
  await before.create("10.5.2.0-24", VALUE, 600_000, controller.signal);
  const clock = { boot: "second", uptimeMs: () => 1000, wallMs: () => wall + 300_000 };
  const after = await open("store.db", { clock });
  expect((await after.entries(controller.signal)).entries.map(({ key }) => key)).toEqual(["10.5.2.0-24"]);
});

test("a watcher that fell behind the history is told to read again", async () => {
  const { signal } = controller;
  const registry = await open("store.db", { history: 10 });
  const { revision } = await registry.entries(signal);
  for (let i = 0; i < 20; i++) {
    const entry = await registry.create("10.5.1.0-24", VALUE, 60_000, signal);
    if (entry !== "exists") await registry.remove(entry, signal);
  }
  const behind = registry.watch(revision, signal)[Symbol.asyncIterator]();
  await expect(behind.next()).rejects.toMatchObject({ reason: "compacted" });
});

test("a lock that is not let go makes the store unreachable to writers, who stop when told", async () => {
  const { signal } = controller;
  const registry = await open("store.db", { lockWaitMs: 50 });
  const patient = await open("store.db", { lockWaitMs: 60_000 });
  const other = new Database(join(directory, "store.db"));
  opened.push({ [Symbol.dispose]: () => other.close() });
  other.run("BEGIN IMMEDIATE");
  const error = await failure(registry.create("10.5.1.0-24", VALUE, 60_000, signal));
  expect(error.reason).toBe("unreachable");
  expect(error.message).toContain("another process has held its lock for 0.05 s; find it with");
  const stopping = new AbortController();
  const waiting = patient.create("10.5.1.0-24", VALUE, 60_000, stopping.signal);
  stopping.abort(new Error("enough"));
  await expect(waiting).rejects.toThrow("enough");
  other.run("COMMIT");
  expect(await registry.create("10.5.1.0-24", VALUE, 60_000, signal)).toMatchObject({ key: "10.5.1.0-24" });
});

describe("a store whose file goes away", () => {
  test("is unreachable, not empty, while it is gone; reads again when it is back", async () => {
    const { signal } = controller;
    const registry = await open("store.db");
    await registry.create("10.5.1.0-24", VALUE, undefined, signal);
    const path = join(directory, "store.db");
    const { revision } = await registry.entries(signal);
    const seen = collect(registry.watch(revision, signal));
    const away = `${path}.away`;
    for (const suffix of ["", "-wal", "-shm"]) renameSync(path + suffix, away + suffix);
    const error = await failure(seen.done);
    expect(error.reason).toBe("unreachable");
    expect(error.message).toContain("the file was deleted; put it back");
    await expect(registry.entries(signal)).rejects.toMatchObject({ reason: "unreachable" });
    for (const suffix of ["", "-wal", "-shm"]) {
      if (existsSync(away + suffix)) renameSync(away + suffix, path + suffix);
    }
    expect((await registry.entries(signal)).entries).toHaveLength(1);
  });

  test("is another store when a new file takes its place", async () => {
    const { signal } = controller;
    const registry = await open("store.db");
    await registry.create("10.5.1.0-24", VALUE, undefined, signal);
    const { revision } = await registry.entries(signal);
    const seen = collect(registry.watch(revision, signal));
    const path = join(directory, "store.db");
    const made = await open("new.db");
    await made.create("10.5.2.0-24", VALUE, undefined, signal);
    made[Symbol.dispose]();
    removeStore(path);
    renameSync(join(directory, "new.db"), path);
    expect(["compacted", "unreachable"]).toContain((await failure(seen.done)).reason);
    expect((await registry.entries(signal)).entries.map(({ key }) => key)).toEqual(["10.5.2.0-24"]);
  });
});
