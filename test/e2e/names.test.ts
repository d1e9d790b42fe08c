// The one executable under its names.

import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { version } from "../../package.json";

const executable = resolve(process.env.FLANNELD ?? "dist/flanneld");

function call(name: string, ...args: readonly string[]) {
  const { exitCode, stdout, stderr } = Bun.spawnSync([join(dirname(executable), name), ...args]);
  return { exitCode, stdout: stdout.toString(), stderr: stderr.toString() };
}

test("flanneld --version goes to standard error, as upstream's", () => {
  expect(call("flanneld", "--version")).toEqual({ exitCode: 0, stdout: "", stderr: `${version}\n` });
});

test("flannelctl --version goes to standard output", () => {
  expect(call("flannelctl", "--version")).toEqual({ exitCode: 0, stdout: `${version}\n`, stderr: "" });
});

test.each(["flannel", "bridge", "host-local", "portmap", "loopback"])("%s is a CNI plugin", (name) => {
  const directory = mkdtempSync(join(tmpdir(), "flannel-names-"));
  try {
    symlinkSync(executable, join(directory, name));
    const { exitCode, stdout, stderr } = Bun.spawnSync([join(directory, name)], {
      env: { CNI_COMMAND: "VERSION" },
      stdin: Buffer.from('{"cniVersion":"1.0.0"}'),
    });
    expect([exitCode, stderr.toString()]).toEqual([0, ""]);
    expect(JSON.parse(stdout.toString())).toMatchObject({
      supportedVersions: expect.arrayContaining(["0.1.0", "1.1.0"]),
    });
  } finally {
    rmSync(directory, { recursive: true });
  }
});
