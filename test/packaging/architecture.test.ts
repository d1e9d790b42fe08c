// What is packed for an architecture is for it: the ELF machine of the executable in tarball and image. The executables are headers alone.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FLANNELD } from "../e2e/nodes.ts";
import { run } from "../kernel/linux_world.ts";
import { readElf } from "../vm/elf.ts";

const PACKAGING = join(import.meta.dir, "../../packaging");
/** elf.h: EM_X86_64, EM_AARCH64, EM_RISCV. */
const MACHINES = { amd64: 62, arm64: 183, riscv64: 243 } as const;
const ARCHITECTURES = ["amd64", "arm64"] as const;

let folder = "";
const executable = (name: string) => join(folder, `flanneld-${name}`);

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "flannel-test-architecture-"));
  for (const [name, machine] of Object.entries(MACHINES)) {
    const header = Buffer.alloc(64);
    // 64 bits, little-endian
    header.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
    header.writeUInt16LE(machine, 18);
    writeFileSync(executable(name), header);
  }
  // In podman's place: what it would build the image from.
  const podman = join(folder, "bin/podman");
  mkdirSync(join(folder, "bin"));
  writeFileSync(podman, `#!/bin/sh\nfor context; do :; done\ncp "$context/flanneld" ${folder}/of-image\necho "$*"\n`);
  chmodSync(podman, 0o700);
});
afterAll(() => rmSync(folder, { recursive: true }));

function failure(command: string): string {
  const { exitCode, stderr } = Bun.spawnSync(["sh", "-c", command]);
  return exitCode === 0 ? "" : stderr.toString().trim();
}

const image = (name: string, arch: string) =>
  `PATH=${folder}/bin:$PATH ${PACKAGING}/kubernetes/make-image.sh ${executable(name)} flannel-ts:test ${arch}`;
const tarball = (name: string, arch: string) =>
  `${PACKAGING}/make-tarball.sh ${executable(name)} ${folder}/tarballs 1.2.3 ${arch}`;

test.each(ARCHITECTURES)("the tarball for %s holds an executable for it", (arch) => {
  run(tarball(arch, arch));
  run(`tar -xf ${folder}/tarballs/flannel-ts-1.2.3-linux-${arch}.tar.gz -C ${folder} flanneld`);
  expect(readElf(join(folder, "flanneld"))?.machine).toBe(arch);
});

test.each(ARCHITECTURES)("the image for linux/%s is built of an executable for it", (arch) => {
  expect(run(image(arch, arch))).toContain(`build --platform=linux/${arch} `);
  expect(readElf(join(folder, "of-image"))?.machine).toBe(arch);
});

test.each([
  ["amd64", "arm64", "amd64"],
  ["arm64", "amd64", "arm64"],
  ["riscv64", "arm64", "machine 0xf300"],
])("an executable for %s is not packed for %s", (name, arch, said) => {
  mkdirSync(join(folder, "none"), { recursive: true });
  const expected = `cannot pack ${executable(name)} for ${arch}: it is for ${said}; build it by make build ARCH=${arch}`;
  expect(failure(tarball(name, arch).replace("/tarballs", "/none"))).toBe(expected);
  expect(failure(image(name, arch))).toBe(expected);
  expect(readdirSync(join(folder, "none"))).toEqual([]);
});

test("flanneld wants nothing but the C library and its loader", () => {
  const { interpreter, needed = [] } = readElf(FLANNELD) ?? {};
  expect(interpreter).toMatch(/^\/lib(64)?\/ld-linux-(x86-64|aarch64)\.so\.\d$/);
  for (const name of needed) expect(name).toMatch(/^(lib(c|m|dl|pthread)|ld-linux-.*)\.so\.\d$/);
});
