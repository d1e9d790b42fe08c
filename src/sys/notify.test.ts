import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { SysError } from "./error.ts";
import { AF_UNIX, bind, close, recv, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK, socket } from "./libc.ts";
import { notifySystemd } from "./notify.ts";

describe("notifySystemd", () => {
  let folder = "";
  let fd = -1;
  beforeEach(() => {
    folder = mkdtempSync("/tmp/flannel-test-notify-");
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, "test");
  });
  afterEach(() => {
    close(fd);
    rmSync(folder, { recursive: true });
  });

  function listen(name: string): void {
    const address = Buffer.concat([Buffer.from([AF_UNIX, 0]), Buffer.from(name)]);
    bind(fd, address, name);
  }

  function received(): string {
    const buffer = new Uint8Array(100);
    return Buffer.from(buffer.subarray(0, recv(fd, buffer, 0, "test"))).toString();
  }

  test("sends one datagram to a path", () => {
    listen(`${folder}/notify\0`);
    expect(notifySystemd("READY=1\nSTATUS=lease 10.5.1.0/24", `${folder}/notify`)).toBe(true);
    expect(received()).toBe("READY=1\nSTATUS=lease 10.5.1.0/24");
  });

  test("sends to a name in the abstract namespace", () => {
    listen(`\0flannel-test-${process.pid}`);
    expect(notifySystemd("STOPPING=1", `@flannel-test-${process.pid}`)).toBe(true);
    expect(received()).toBe("STOPPING=1");
  });

  test("does nothing when no supervisor asked", () => {
    expect(notifySystemd("READY=1", "")).toBe(false);
  });

  test("says which socket it cannot reach", () => {
    const attempt = () => notifySystemd("READY=1", `${folder}/gone`);
    expect(attempt).toThrow(SysError);
    expect(attempt).toThrow(`cannot sendto ${folder}/gone: ENOENT (No such file or directory)`);
  });
});
