// The one executable under its names.

import { expect, test } from "bun:test";
import { dirname, resolve } from "node:path";
import { version } from "../../package.json";

const directory = resolve(dirname(process.env.FLANNELD ?? "dist/flanneld"));

function call(name: string, ...args: readonly string[]) {
  const { exitCode, stdout, stderr } = Bun.spawnSync([`${directory}/${name}`, ...args]);
  return { exitCode, stdout: stdout.toString(), stderr: stderr.toString() };
}

test("flanneld --version goes to standard error, as upstream's", () => {
  expect(call("flanneld", "--version")).toEqual({ exitCode: 0, stdout: "", stderr: `${version}\n` });
});

test("flannelctl --version goes to standard output", () => {
  expect(call("flannelctl", "--version")).toEqual({ exitCode: 0, stdout: `${version}\n`, stderr: "" });
});

test("flannel, the CNI plugin, says that it is not there yet, in the form that runtimes read", () => {
  const { exitCode, stdout } = call("flannel");
  expect(exitCode).toBe(1);
  expect(JSON.parse(stdout)).toMatchObject({ code: 999, msg: expect.stringContaining("no CNI plugin yet") });
});
