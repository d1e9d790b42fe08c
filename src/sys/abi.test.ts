// The layouts and numbers that this folder says are the same on x86-64 and arm64, asked of the machine that the test runs on: what one call writes, another reads, or
// the runtime tells by a way of its own. `make test-arm64` runs this on arm64.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openBell, openDatagramSocket, ring } from "./datagram.ts";
import { EEXIST, ENOENT, ENOTDIR, SysError } from "./error.ts";
import { namesIn, overwriteText, readText, writeText } from "./file.ts";
import * as libc from "./libc.ts";
import { addressOf, pollFiles, readPacket, receiveDatagrams, sendDatagrams, writePacket } from "./packet_calls.ts";

const LOOPBACK = Uint8Array.of(127, 0, 0, 1);
const AF_INET = 2;

let directory = "";
const path = (name: string) => join(directory, name);
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "flannel-abi-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

function errorOf(act: () => unknown): number {
  try {
    act();
  } catch (error) {
    if (error instanceof SysError) return error.errno;
  }
  return 0;
}

describe("files", () => {
  test("O_WRONLY, O_CREAT and O_TRUNC make and empty a file, O_RDONLY reads it, and every file is closed on exec", () => {
    writeText(path("a"), "longer text", { mode: 0o640, sync: true });
    expect([readText(path("a")), statSync(path("a")).mode & 0o777]).toEqual(["longer text", 0o640 & ~process.umask()]);
    writeText(path("a"), "short");
    expect(readText(path("a"))).toBe("short");
    overwriteText(path("a"), "no");
    expect(readText(path("a"))).toBe("no");
    const fd = libc.open(path("a"), libc.O_RDONLY);
    // Octal, as open(2) has them.
    const flags = Number.parseInt(
      /^flags:\s+(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"))?.[1] ?? "",
      8,
    );
    libc.close(fd);
    expect(flags & libc.O_CLOEXEC).toBe(libc.O_CLOEXEC);
  });

  test("identityOf has the inode where struct statx does", () => {
    writeFileSync(path("b"), "");
    libc.link(path("b"), path("c"));
    const { ino } = statSync(path("b"));
    expect(libc.identityOf(path("b"))).toEndWith(`:${ino}`);
    expect(libc.identityOf(path("c"))).toBe(libc.identityOf(path("b")));
    libc.rename(path("c"), path("b2"));
    libc.unlink(path("b2"));
  });

  test("namesIn reads struct linux_dirent64", () => {
    libc.mkdir(path("many"), 0o700);
    const names = Array.from({ length: 1000 }, (_, i) => `name ${"x".repeat(i % 50)} ${i}`);
    for (const name of names) writeFileSync(path(`many/${name}`), "");
    expect(namesIn(path("many")).sort()).toEqual(names.sort());
  });

  test("errno is the calling thread's, by the numbers of asm-generic", () => {
    writeFileSync(path("file"), "");
    expect(errorOf(() => libc.open(path("nothing"), libc.O_RDONLY))).toBe(ENOENT);
    expect(errorOf(() => libc.open(path("file/below"), libc.O_RDONLY))).toBe(ENOTDIR);
    expect(errorOf(() => libc.mkdir(directory, 0o700))).toBe(EEXIST);
  });
});

test("localTime reads struct tm", () => {
  for (const seconds of [0, 951_782_399, 1_767_225_600, 4_102_444_799]) {
    const date = new Date(seconds * 1000);
    expect(libc.localTime(seconds)).toEqual({
      month: date.getMonth() + 1,
      day: date.getDate(),
      hours: date.getHours(),
      minutes: date.getMinutes(),
      seconds: date.getSeconds(),
    });
  }
});

test("a bell is readable as often as it was rung, by struct pollfd and by poll", () => {
  const bell = openBell();
  const files = new DataView(new ArrayBuffer(8));
  files.setInt32(0, bell, true);
  files.setInt16(4, libc.POLLIN, true);
  const address = addressOf(new Uint8Array(files.buffer));
  const word = new Uint8Array(8);
  expect(pollFiles(address, 1, 0)).toBe(0);
  ring(bell);
  ring(bell);
  for (let n = 0; n < 2; n++) {
    expect([pollFiles(address, 1, -1), files.getInt16(6, true)]).toEqual([1, libc.POLLIN]);
    expect([readPacket(bell, addressOf(word), 8), word]).toEqual([8, Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0)]);
  }
  expect(libc.poll(bell, libc.POLLIN, 0, "bell")).toBe(0);
  const one = new Uint8Array(8).fill(0);
  one[0] = 3;
  const iovec = new BigUint64Array([BigInt(addressOf(one)), 8n]);
  expect(writePacket(bell, addressOf(new Uint8Array(iovec.buffer)), 1)).toBe(8);
  expect(libc.poll(bell, libc.POLLIN, -1, "bell")).toBe(libc.POLLIN);
  libc.close(bell);
});

test("what goes out by struct mmsghdr comes in by it: names, iovecs, lengths", () => {
  const COUNT = 3;
  const [MMSGHDR, IOVEC, NAME, DATA] = [64, 16, 16, 256];
  const from = openDatagramSocket(LOOPBACK, 0, 1 << 18, "sender");
  const to = openDatagramSocket(LOOPBACK, 0, 1 << 18, "receiver");
  expect([from.segments, from.receivesSegments]).toEqual([true, true]);
  expect(from.receiveBytes).toBeGreaterThan(0);
  const portOf = (fd: number) => new DataView(libc.getsockname(fd, "socket").buffer).getUint16(2);
  const bytes = new Uint8Array(new ArrayBuffer(COUNT * (MMSGHDR + IOVEC + NAME + DATA)));
  const view = new DataView(bytes.buffer);
  const base = BigInt(addressOf(bytes));
  const at = (n: number) => ({ iovec: COUNT * MMSGHDR + n * IOVEC, name: COUNT * (MMSGHDR + IOVEC) + n * NAME });
  const dataAt = (n: number) => COUNT * (MMSGHDR + IOVEC + NAME) + n * DATA;
  const lay = (lengthOf: (n: number) => number) => {
    for (let n = 0; n < COUNT; n++) {
      const { iovec, name } = at(n);
      view.setBigUint64(n * MMSGHDR, base + BigInt(name), true);
      view.setUint32(n * MMSGHDR + 8, NAME, true);
      view.setBigUint64(n * MMSGHDR + 16, base + BigInt(iovec), true);
      view.setBigUint64(n * MMSGHDR + 24, 1n, true);
      view.setBigUint64(iovec, base + BigInt(dataAt(n)), true);
      view.setBigUint64(iovec + 8, BigInt(lengthOf(n)), true);
    }
  };
  lay((n) => 10 + n);
  for (let n = 0; n < COUNT; n++) {
    view.setUint16(at(n).name, AF_INET, true);
    view.setUint16(at(n).name + 2, portOf(to.fd));
    bytes.set(LOOPBACK, at(n).name + 4);
    bytes.fill(n + 1, dataAt(n), dataAt(n) + 10 + n);
  }
  expect(sendDatagrams(from.fd, Number(base), COUNT)).toBe(COUNT);
  bytes.fill(0);
  lay(() => DATA);
  expect(libc.poll(to.fd, libc.POLLIN, -1, "receiver")).toBe(libc.POLLIN);
  let received = 0;
  while (received < COUNT)
    received += Math.max(0, receiveDatagrams(to.fd, Number(base) + received * MMSGHDR, COUNT - received));
  for (let n = 0; n < COUNT; n++) {
    expect(view.getUint32(n * MMSGHDR + 56, true)).toBe(10 + n);
    expect(view.getUint16(at(n).name + 2)).toBe(portOf(from.fd));
    expect(bytes.subarray(at(n).name + 4, at(n).name + 8)).toEqual(LOOPBACK);
    expect(bytes.subarray(dataAt(n), dataAt(n) + 11 + n)).toEqual(new Uint8Array(11 + n).fill(n + 1, 0, 10 + n));
  }
  libc.close(from.fd);
  libc.close(to.fd);
});
