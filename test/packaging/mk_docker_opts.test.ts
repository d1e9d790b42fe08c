// mk-docker-opts.sh under the shells that /bin/sh is in the field, against what upstream's script was recorded to answer; then the faults of that script that
// are mended here, which nothing can depend on. Needs root, for the network namespace whose routes it looks at.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Namespace } from "../kernel/linux_world.ts";
import { type Answer, ask, CASES, ROUTES, SUBNET_ENV } from "./mk_docker_opts_cases.ts";

const SCRIPT = join(import.meta.dir, "../../packaging/mk-docker-opts.sh");
const SHELLS = ["dash", "bash", "bash --posix", "busybox sh"];
const recorded: Readonly<Record<string, Answer>> = JSON.parse(
  readFileSync(join(import.meta.dir, "../fixtures/mk_docker_opts.json"), "utf8"),
);

let namespace: Namespace;
beforeAll(() => {
  namespace = new Namespace();
  namespace.run(ROUTES.join("\n"));
});
afterAll(() => namespace[Symbol.dispose]());

test("every case has its recording", () => {
  expect(CASES.map(({ name }) => name)).toEqual(Object.keys(recorded));
});

describe.each(SHELLS)("mk-docker-opts.sh under %s", (words) => {
  const shell = words.split(" ");
  const plain = { args: [], environment: {}, subnetEnv: SUBNET_ENV };

  test("answers as upstream's", () => {
    for (const each of CASES) {
      const answer = ask(each, shell, SCRIPT, namespace.name);
      expect<unknown>([each.name, answer]).toEqual([each.name, recorded[each.name]]);
    }
  });

  test.each([["-h"], ["-?"], ["-x"], ["-k"]])("%s is answered by the usage on standard error", (flag) => {
    const { exitCode, stdout, stderr, dockerEnv } = ask({ ...plain, args: [flag] }, shell, SCRIPT, namespace.name);
    expect({ exitCode, stdout, dockerEnv }).toEqual({ exitCode: 1, stdout: "", dockerEnv: null });
    const synopsis = "[-f FLANNEL-ENV-FILE] [-d DOCKER-ENV-FILE] [-i] [-c] [-m] [-k COMBINED-KEY]";
    expect(stderr).toContain(`${SCRIPT} ${synopsis}\n`);
  });

  test("takes a relative file, and one whose path has a blank", () => {
    const folder = mkdtempSync(join(tmpdir(), "flannel test "));
    try {
      writeFileSync(join(folder, "subnet.env"), SUBNET_ENV);
      for (const file of ["subnet.env", join(folder, "subnet.env")]) {
        const files = ["-f", file, "-d", "docker"];
        expect(ask({ ...plain, args: ["-c"] }, shell, SCRIPT, namespace.name, files)).toEqual({
          exitCode: 0,
          stdout: "",
          stderr: "",
          dockerEnv: 'DOCKER_OPTS=" --bip=10.1.74.1/24 --ip-masq=true --mtu=1472"\n',
        });
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test.each([
    ["./gone/docker", "no directory"],
    ["/dev/full", "no space"],
    ["", "no name"],
  ])("ends with an error when it cannot write %j: %s", (path) => {
    const answer = ask(plain, shell, SCRIPT, namespace.name, ["-f", "./subnet.env", "-d", path]);
    expect(answer.exitCode).toBe(1);
    expect(answer.stderr).toContain(`cannot write ${path}; name another file with -d, or make its directory\n`);
  });

  test.each([["A-B"], ["1ST"], ["DOCKER_OPTS="], ["x;touch docker"], [""]])("refuses the name %j", (key) => {
    const answer = ask({ ...plain, args: ["-k", key] }, shell, SCRIPT, namespace.name);
    expect(answer).toEqual({
      exitCode: 1,
      stdout: "",
      stderr: `cannot use "${key}" as the name of a variable: want letters, digits and _, as in -k DOCKER_OPTS\n`,
      dockerEnv: null,
    });
  });

  test.each([
    [
      "of several words, without a line for each word",
      { DOCKER_OPT_H: "-H  fd://" },
      'DOCKER_OPT_H="-H fd://"',
      "-H fd://",
    ],
    ["with a pattern, which stays one", { DOCKER_OPT_L: "/e*c" }, 'DOCKER_OPT_L="/e*c"', "/e*c"],
    ["with a backslash, which stays one", { DOCKER_OPT_L: "a\\tb" }, 'DOCKER_OPT_L="a\\tb"', "a\\tb"],
    ["that echo would take for its own", { DOCKER_OPT_N: "-n" }, 'DOCKER_OPT_N="-n"', "-n"],
    [
      "of two lines",
      { DOCKER_OPT_T: "--a\nDOCKER_OPT_U=--u" },
      'DOCKER_OPT_T="--a DOCKER_OPT_U=--u"',
      "--a DOCKER_OPT_U=--u",
    ],
    ["whose name another value holds", { OTHER: "DOCKER_OPT_X=1\n DOCKER_OPT_Y=2" }, "", ""],
  ])("writes an option %s", (_, environment, line, words) => {
    const answer = ask({ args: [], environment, subnetEnv: "" }, shell, SCRIPT, namespace.name);
    const all = `DOCKER_OPTS="${words && ` ${words}`}"\n`;
    expect(answer).toEqual({ exitCode: 0, stdout: "", stderr: "", dockerEnv: `${line && `${line}\n`}${all}` });
  });

  test.each([
    ["IPv6", "FLANNEL_SUBNET=fd00:5:0:1::1/64", "--bip=fd00:5:0:1::1/64"],
    ["the end of another's subnet", "FLANNEL_SUBNET=0.1.75.1/24", "--bip=0.1.75.1/24"],
  ])("is not stopped by %s", (_, subnetEnv, option) => {
    const answer = ask({ args: ["-c"], environment: {}, subnetEnv }, shell, SCRIPT, namespace.name);
    expect(answer).toEqual({ exitCode: 0, stdout: "", stderr: "", dockerEnv: `DOCKER_OPTS=" ${option}"\n` });
  });
});
