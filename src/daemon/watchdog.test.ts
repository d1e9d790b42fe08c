import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AF_UNIX, bind, close, recvNow, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK, socket } from "../sys/libc.ts";
import { startWatchdog } from "./watchdog.ts";

const PID = 4711;
let folder = "";
let path = "";
let fd = -1;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "flannel-test-watchdog-"));
  path = join(folder, "notify");
  fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, "test");
  bind(fd, Buffer.concat([Buffer.from([AF_UNIX, 0]), Buffer.from(`${path}\0`)]), path);
});
afterEach(() => {
  close(fd);
  rmSync(folder, { recursive: true });
});

/** Everything that has arrived. */
function received(): string[] {
  const messages: string[] = [];
  const buffer = new Uint8Array(100);
  for (let length = recvNow(fd, buffer); length >= 0; length = recvNow(fd, buffer)) {
    messages.push(Buffer.from(buffer.subarray(0, length)).toString());
  }
  return messages;
}

async function receivedInAll(count: number): Promise<string[]> {
  const messages: string[] = [];
  while (messages.length < count) {
    await Bun.sleep(1);
    messages.push(...received());
  }
  return messages;
}

function fail(error: unknown): never {
  throw error;
}

test("WATCHDOG=1 is said at once and again and again, until the end", async () => {
  const environment = { NOTIFY_SOCKET: path, WATCHDOG_USEC: "4000", WATCHDOG_PID: String(PID) };
  {
    using _watchdog = startWatchdog(environment, PID, fail);
    expect(received()).toEqual(["WATCHDOG=1"]);
    expect(new Set(await receivedInAll(3))).toEqual(new Set(["WATCHDOG=1"]));
  }
  received();
  await Bun.sleep(20);
  expect(received()).toEqual([]);
});

test("the variables are taken out of the environment of later children, NOTIFY_SOCKET stays", () => {
  for (const WATCHDOG_PID of [String(PID), "1"]) {
    const environment = { NOTIFY_SOCKET: path, WATCHDOG_USEC: "60000000", WATCHDOG_PID };
    using _watchdog = startWatchdog(environment, PID, fail);
    expect(environment as object).toEqual({ NOTIFY_SOCKET: path });
  }
});

test("without WATCHDOG_PID every process is meant", () => {
  using _watchdog = startWatchdog({ NOTIFY_SOCKET: path, WATCHDOG_USEC: "60000000" }, PID, fail);
  expect(received()).toEqual(["WATCHDOG=1"]);
});

test.each([
  ["nobody watches", {}],
  ["another process is watched", { WATCHDOG_USEC: "60000000", WATCHDOG_PID: "1" }],
  ["the time is none", { WATCHDOG_USEC: "0" }],
  ["the time is no number", { WATCHDOG_USEC: "1s" }],
])("nothing is said when %s", (_, variables) => {
  using _watchdog = startWatchdog({ NOTIFY_SOCKET: path, ...variables }, PID, fail);
  expect(received()).toEqual([]);
});

test("nothing is said to a supervisor without a socket", () => {
  using _watchdog = startWatchdog({ WATCHDOG_USEC: "1000" }, PID, fail);
  expect(received()).toEqual([]);
});

test("a time of months is no time of milliseconds", async () => {
  using _watchdog = startWatchdog({ NOTIFY_SOCKET: path, WATCHDOG_USEC: String(2 ** 33 * 1000) }, PID, fail);
  await Bun.sleep(10);
  expect(received()).toEqual(["WATCHDOG=1"]);
});

test("a supervisor out of reach is told of once", async () => {
  const errors: unknown[] = [];
  const gone = join(folder, "gone");
  using _watchdog = startWatchdog({ NOTIFY_SOCKET: gone, WATCHDOG_USEC: "2000" }, PID, (error) => errors.push(error));
  await Bun.sleep(20);
  expect(errors.map(String)).toEqual([expect.stringContaining(`cannot sendto ${gone}: ENOENT`)]);
});

test("a watchdog does not keep the process alive", async () => {
  const module = JSON.stringify(join(import.meta.dir, "watchdog.ts"));
  const script = `(await import(${module})).startWatchdog(process.env, process.pid, console.error)`;
  const { exited } = Bun.spawn([process.execPath, "-e", script], {
    env: { ...process.env, NOTIFY_SOCKET: path, WATCHDOG_USEC: "60000000" },
  });
  expect(await exited).toBe(0);
  expect(received()).toEqual(["WATCHDOG=1"]);
});
