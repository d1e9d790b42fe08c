import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BellListener, StoreBell } from "./embedded_bell.ts";

const FOREVER_MS = 60_000;
let directory = "";
let path = "";
let controller = new AbortController();

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "flannel-bell-"));
  mkdirSync(join(directory, "store"));
  path = join(directory, "store", "store.db");
  writeFileSync(path, "");
  controller = new AbortController();
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** A listener that has taken what it was rung with at first. */
async function quiet(bell: StoreBell): Promise<BellListener> {
  const listener = bell.listen();
  await listener.wait(FOREVER_MS, controller.signal);
  return listener;
}

describe("a bell rings", () => {
  test.each(["store.db", "store.db-wal", "store.db-journal"])(
    "when %s is written, and again for a late commit",
    async (name) => {
      using bell = new StoreBell(path);
      using listener = await quiet(bell);
      writeFileSync(join(directory, "store", name), "x");
      for (let ring = 0; ring < 4; ring++) await listener.wait(FOREVER_MS, controller.signal);
    },
  );

  test("without inotify as well, if later", async () => {
    using bell = new StoreBell(path, () => {
      throw new Error("ENOSPC: no inotify watches left");
    });
    using listener = await quiet(bell);
    await listener.wait(FOREVER_MS, controller.signal); // the first look knows nothing to compare with
    writeFileSync(`${path}-wal`, "x");
    await listener.wait(FOREVER_MS, controller.signal);
  });

  test("for a file in a directory that took the place of the watched one", async () => {
    using bell = new StoreBell(path);
    using listener = await quiet(bell);
    renameSync(join(directory, "store"), join(directory, "away"));
    mkdirSync(join(directory, "store"));
    await listener.wait(FOREVER_MS, controller.signal);
    writeFileSync(path, "x");
    await listener.wait(FOREVER_MS, controller.signal);
  });
});

test("a bell does not ring for other files", async () => {
  using bell = new StoreBell(path);
  using listener = await quiet(bell);
  await listener.wait(1500, controller.signal); // past the first look
  let rung = false;
  const waiting = listener.wait(FOREVER_MS, controller.signal).then(() => {
    rung = true;
  });
  writeFileSync(join(directory, "store", "other.db"), "x");
  await Bun.sleep(100);
  expect(rung).toBe(false);
  controller.abort();
  await waiting;
});

test("a ring between two waits is not lost", async () => {
  using bell = new StoreBell(path);
  using listener = await quiet(bell);
  bell.ring();
  await listener.wait(FOREVER_MS, controller.signal);
});
