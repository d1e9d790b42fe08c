// The tarball of `make dist` and what install.sh makes of it. Most is asked of one with a small stand-in for flanneld, which prints its name and arguments; that the
// real one runs from wherever it was unpacked is asked once. EXECUTABLE dist/flanneld, or FLANNELD.

import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { version } from "../../package.json";
import { FLANNELD } from "../e2e/nodes.ts";
import { run } from "../kernel/linux_world.ts";

const PACKAGING = join(import.meta.dir, "../../packaging");
const SHELLS = ["dash", "bash", "busybox sh"];
const ARCH = process.arch === "arm64" ? "arm64" : "amd64";
const TARBALL = `flannel-ts-1.2.3-linux-${ARCH}.tar.gz`;

let folder = "";
let unpacked = "";

function makeTarball(executable: string, output: string): void {
  run(`SOURCE_DATE_EPOCH=1700000000 ${PACKAGING}/make-tarball.sh ${executable} ${output} 1.2.3 ${ARCH}`);
}

/** What systemd would start: the unit's line with its variables, in an environment that holds nothing else. */
function start(shell: string, environment: Readonly<Record<string, string>>, args: readonly string[] = []): string {
  const { stdout, stderr, exitCode } = Bun.spawnSync([...shell.split(" "), join(unpacked, "flanneld-start"), ...args], {
    env: { PATH: process.env.PATH ?? "", ...environment },
    cwd: "/",
  });
  if (exitCode !== 0) throw new Error(stderr.toString());
  return stdout.toString().trim();
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "flannel-test-tarball-"));
  const executable = join(folder, "stand-in");
  writeFileSync(executable, `#!/bin/sh\nprintf '[%s]' "$@"\n`);
  chmodSync(executable, 0o700);
  makeTarball(executable, join(folder, "one"));
  utimesSync(executable, 1, 1);
  run(`umask 077; cp -p ${executable} ${executable}2`);
  makeTarball(`${executable}2`, join(folder, "two"));
  unpacked = join(folder, "any where");
  mkdirSync(unpacked);
  run(`tar -xf ${folder}/one/${TARBALL} -C '${unpacked}'`);
});
afterAll(() => rmSync(folder, { recursive: true }));

test("the tarball is the same bytes whenever and by whomever it is made", () => {
  const [one, two] = ["one", "two"].map((name) => readFileSync(join(folder, name, TARBALL)));
  expect(one?.equals(two ?? Buffer.of())).toBe(true);
  expect(readdirSync(join(folder, "one")).sort()).toEqual(["SHA256SUMS", TARBALL]);
});

test("the checksums beside it and inside it are of all there is", () => {
  run(`cd ${folder}/one && sha256sum --check --strict SHA256SUMS`);
  run(`cd '${unpacked}' && sha256sum --check --strict SHA256SUMS`);
  const summed = [...(readFileSync(join(unpacked, "SHA256SUMS"), "utf8").match(/(?<= {2}).+$/gm) ?? [])];
  const files = run(`cd '${unpacked}' && find . -type f ! -name SHA256SUMS -printf '%P\\n'`).trim().split("\n");
  expect(summed.sort()).toEqual(files.sort());
});

test("the tarball holds what a host needs, for everybody to read", () => {
  const lines = run(`tar -tvf ${folder}/one/${TARBALL}`).trim().split("\n");
  const entries = lines.map((line) => line.split(/\s+/));
  const names = entries.map(([, , , , , ...name]) => name.join(" ")).filter((name) => !name.startsWith("docs/"));
  expect(names).toEqual([
    "CHANGELOG.md",
    "LICENSE",
    "README.md",
    "SHA256SUMS",
    "docker.service.d/",
    "docker.service.d/flannel.conf",
    "flannel -> flanneld",
    "flannelctl -> flanneld",
    "flanneld",
    "flanneld-start",
    "flanneld.conf",
    "flanneld.service",
    "install.sh",
    "mk-docker-opts.sh",
  ]);
  expect(new Set(entries.map(([, owner]) => owner))).toEqual(new Set(["0/0"]));
  const modes = new Map(entries.map(([mode, , , , , name]) => [name, mode]));
  expect(["flanneld", "flanneld-start", "mk-docker-opts.sh", "LICENSE"].map((name) => modes.get(name))).toEqual([
    "-rwxr-xr-x",
    "-rwxr-xr-x",
    "-rwxr-xr-x",
    "-rw-r--r--",
  ]);
});

test("flanneld and flannelctl run from where they were unpacked", () => {
  const place = join(folder, "real");
  makeTarball(FLANNELD, place);
  run(`mkdir ${place}/x && tar -xf ${place}/${TARBALL} -C ${place}/x`);
  const said = run(`cd / && ${place}/x/flanneld-start --version 2>&1; ${place}/x/flannelctl --version`);
  expect(said).toBe(`${version}\n${version}\n`);
});

const ENVIRONMENTS: readonly (readonly [string, Readonly<Record<string, string>>, string])[] = [
  ["no file at all", {}, "[-v=1]"],
  ["FLANNELD_… variables, as CoreOS has them", { FLANNELD_ETCD_ENDPOINTS: "http://a:2379" }, "[-v=1]"],
  [
    "Fedora's file",
    { FLANNEL_ETCD_ENDPOINTS: "http://a:2379,http://b:2379", FLANNEL_ETCD_PREFIX: "/atomic.io/network" },
    "[-etcd-endpoints=http://a:2379,http://b:2379][-etcd-prefix=/atomic.io/network][-v=1]",
  ],
  [
    "Fedora's older file",
    { FLANNEL_ETCD: "http://a:2379", FLANNEL_ETCD_KEY: "/atomic.io/network" },
    "[-etcd-endpoints=http://a:2379][-etcd-prefix=/atomic.io/network][-v=1]",
  ],
  [
    "both of them",
    { FLANNEL_ETCD: "http://old:2379", FLANNEL_ETCD_ENDPOINTS: "http://new:2379" },
    "[-etcd-endpoints=http://new:2379][-v=1]",
  ],
  ["empty values", { FLANNEL_ETCD_ENDPOINTS: "", FLANNEL_ETCD_PREFIX: "" }, "[-v=1]"],
  ["one of the two", { FLANNEL_ETCD_PREFIX: "/kubernetes/network" }, "[-etcd-prefix=/kubernetes/network][-v=1]"],
  [
    "flags in the variables",
    { FLANNEL_ETCD_ENDPOINTS: "-etcd-endpoints=http://a:2379", FLANNEL_ETCD_PREFIX: "--etcd-prefix /x" },
    "[-etcd-endpoints=http://a:2379][--etcd-prefix][/x][-v=1]",
  ],
  ["a * that is no pattern", { FLANNEL_ETCD_PREFIX: "-etcd-prefix=/* /*" }, "[-etcd-prefix=/*][/*][-v=1]"],
];

test.each(SHELLS)(
  "flanneld-start under %s makes flags of each convention's variables, before the arguments",
  (shell) => {
    for (const [name, environment, words] of ENVIRONMENTS) {
      expect([name, start(shell, environment, ["-v=1"])]).toEqual([name, words]);
    }
  },
);

test("install.sh keeps a configuration and lays an older unit aside", () => {
  const root = join(folder, "root");
  const unit = join(root, "etc/systemd/system/flanneld.service");
  const conf = join(root, "etc/flannel/flanneld.conf");
  const install = (variables: string) => run(`DESTDIR=${root} ${variables} '${unpacked}/install.sh' --docker`);
  install("PREFIX=/usr");
  expect(existsSync(`${unit}~`)).toBe(false);
  writeFileSync(conf, "FLANNEL_OPTIONS=-ip-masq\n");
  writeFileSync(unit, "[Service]\n");
  install("PREFIX=/usr/local");
  expect(readFileSync(conf, "utf8")).toBe("FLANNEL_OPTIONS=-ip-masq\n");
  expect(readFileSync(`${unit}~`, "utf8")).toBe("[Service]\n");
  const lines = readFileSync(unit, "utf8").match(/^ExecStart(?:Post)?=.*$/gm);
  expect(lines).toEqual([
    "ExecStart=/usr/local/bin/flanneld-start $FLANNEL_OPTIONS $FLANNEL_OPTS",
    "ExecStartPost=/usr/local/libexec/flannel/mk-docker-opts.sh -k DOCKER_NETWORK_OPTIONS -d /run/flannel/docker",
  ]);
  for (const path of [
    "usr/local/bin/flannelctl",
    "usr/bin/flanneld",
    "etc/systemd/system/docker.service.d/flannel.conf",
  ]) {
    expect([path, existsSync(join(root, path))]).toEqual([path, true]);
  }
});
