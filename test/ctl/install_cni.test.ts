// flannelctl install-cni on directories of its own: what it puts there, what it leaves alone, and what it takes away again.

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { installConf, removeConf, usualConf } from "../../src/ctl/install_cni/conf.ts";
import { executableOf, installPlugins, removePlugins } from "../../src/ctl/install_cni/plugins.ts";

/** What `make build` made. */
const FLANNELCTL = resolve(import.meta.dir, "../../dist/flannelctl");
const NAMES = ["bridge", "flannel", "host-local", "loopback", "portmap"];
/** An executable that answers VERSION, of this project as its text says. */
const plugin = (versions: string, mark = "of flannel-ts, a CNI plugin") =>
  `#!/bin/sh\n# ${mark}\ncat >/dev/null\necho '{"cniVersion":"1.0.0","supportedVersions":${versions}}'\n`;
const PLUGINS = [{ type: "flannel" }, { type: "tuning" }];
const ALL = `["0.3.1","0.4.0","1.0.0","1.1.0"]`;

let directory: string;
let binDir: string;
let confDir: string;
let executable: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "flannel-install-"));
  binDir = join(directory, "bin");
  confDir = join(directory, "net.d");
  executable = join(directory, "flanneld");
  writeFileSync(executable, plugin(ALL), { mode: 0o755 });
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

function done(actions: readonly { readonly done: string; readonly path: string }[]): Record<string, string> {
  return Object.fromEntries(actions.map(({ done, path }) => [path.slice(path.lastIndexOf("/") + 1), done]));
}

const conf = (options: { file?: string; newVersions?: boolean; force?: boolean } = {}) =>
  installConf({
    binDir,
    confDir,
    file: options.file,
    newVersions: options.newVersions ?? false,
    force: options.force ?? false,
  });

describe("plugins", () => {
  test("one file under five names, in a directory that is made; a second time there is nothing to do", () => {
    const actions = done(installPlugins(executable, binDir, false));
    expect(actions).toEqual(Object.fromEntries(NAMES.map((name) => [name, "installed"])));
    expect(readdirSync(binDir).sort()).toEqual(NAMES);
    expect(new Set(NAMES.map((name) => statSync(join(binDir, name)).ino)).size).toBe(1);
    expect(statSync(join(binDir, "flannel")).mode & 0o777).toBe(0o755);
    expect(new Set(Object.values(done(installPlugins(executable, binDir, false))))).toEqual(new Set(["unchanged"]));
  });

  test("those of others stay, but for flannel; --force replaces them", () => {
    mkdirSync(binDir);
    for (const name of ["flannel", "portmap", "dhcp"]) writeFileSync(join(binDir, name), "another's");
    const actions = done(installPlugins(executable, binDir, false));
    expect(actions).toMatchObject({ flannel: "replaced", portmap: "kept", bridge: "installed" });
    expect(readFileSync(join(binDir, "portmap"), "utf8")).toBe("another's");
    expect(done(installPlugins(executable, binDir, true))).toMatchObject({ flannel: "unchanged", portmap: "replaced" });
    expect(statSync(join(binDir, "portmap")).ino).toBe(statSync(join(binDir, "flannel")).ino);
    expect(readFileSync(join(binDir, "dhcp"), "utf8")).toBe("another's");
  });

  test("a newer version replaces an older one under every name", () => {
    installPlugins(executable, binDir, false);
    const newer = join(directory, "newer");
    writeFileSync(newer, `${plugin(ALL)}# newer\n`, { mode: 0o755 });
    expect(new Set(Object.values(done(installPlugins(newer, binDir, false))))).toEqual(new Set(["replaced"]));
    for (const name of NAMES) expect(readFileSync(join(binDir, name), "utf8")).toEndWith("# newer\n");
  });

  test("removed is what is ours, by whichever version it was installed", () => {
    installPlugins(executable, binDir, false);
    rmSync(join(binDir, "bridge"));
    writeFileSync(join(binDir, "bridge"), "another's");
    expect(done(removePlugins(binDir))).toMatchObject({ flannel: "removed", portmap: "removed", bridge: "kept" });
    expect(readdirSync(binDir)).toEqual(["bridge"]);
    expect(removePlugins(join(directory, "none"))).toEqual([]);
  });

  test("a program run from its source is no plugin", () => {
    expect(() => executableOf(process.execPath)).toThrow("it is not the built executable");
    expect(executableOf(executable)).toBe(executable);
  });

  test("a directory that cannot be written is named, and nothing half written stays", () => {
    writeFileSync(binDir, "a file");
    expect(() => installPlugins(executable, binDir, false)).toThrow(`cannot write ${join(binDir, "flannel")}: `);
    expect(readdirSync(directory).sort()).toEqual(["bin", "flanneld"]);
  });
});

describe("configuration", () => {
  const list = () => join(confDir, "10-flannel.conflist");

  test("upstream's list", () => {
    expect(conf()).toEqual({ done: "installed", path: list() });
    expect(JSON.parse(readFileSync(list(), "utf8"))).toEqual({
      name: "cbr0",
      cniVersion: "0.3.1",
      plugins: [
        { type: "flannel", delegate: { hairpinMode: true, isDefaultGateway: true } },
        { type: "portmap", capabilities: { portMappings: true } },
      ],
    });
    expect(readdirSync(confDir)).toEqual(["10-flannel.conflist"]);
    expect(statSync(list()).mode & 0o777).toBe(0o644);
    expect(conf().done).toBe("unchanged");
  });

  test("newer versions are those that the installed portmap has, too", () => {
    installPlugins(executable, binDir, false);
    conf();
    expect(conf({ newVersions: true }).done).toBe("replaced");
    expect(JSON.parse(readFileSync(list(), "utf8"))).toMatchObject({
      cniVersion: "0.3.1",
      cniVersions: JSON.parse(ALL),
    });
    rmSync(join(binDir, "portmap"));
    writeFileSync(join(binDir, "portmap"), plugin(`["0.3.1","0.4.0","1.0.0"]`, "another's"), { mode: 0o755 });
    conf({ newVersions: true });
    expect(JSON.parse(readFileSync(list(), "utf8")).cniVersions).toEqual(["0.3.1", "0.4.0", "1.0.0"]);
    rmSync(join(binDir, "portmap"));
    expect(() => conf({ newVersions: true })).toThrow(`cannot ask ${join(binDir, "portmap")} for its CNI versions`);
  });

  test("one that was changed stays, unless a file is named or --force is", () => {
    mkdirSync(confDir);
    const changed = usualConf([]).replace("cbr0", "mine");
    writeFileSync(list(), changed);
    expect(conf()).toMatchObject({ done: "kept" });
    expect(done(removeConf(confDir, undefined))).toEqual({ "10-flannel.conflist": "kept" });
    expect(readFileSync(list(), "utf8")).toBe(changed);
    expect(conf({ force: true }).done).toBe("replaced");
    expect(done(removeConf(confDir, undefined))).toEqual({ "10-flannel.conflist": "removed" });
    expect(existsSync(list())).toBe(false);
  });

  test("of a list of one's own, only versions that all its plugins there have stay; it is removed in whichever form it was installed", () => {
    const file = join(directory, "own.conflist");
    const given = { name: "own", cniVersion: "0.3.1", cniVersions: JSON.parse(ALL), plugins: PLUGINS };
    writeFileSync(file, JSON.stringify(given));
    installPlugins(executable, binDir, false);
    writeFileSync(join(binDir, "tuning"), plugin(ALL, "another's"), { mode: 0o755 });
    const installed = () => {
      conf({ file, newVersions: true });
      return JSON.parse(readFileSync(list(), "utf8"));
    };
    expect(installed()).toEqual(given);
    expect(readFileSync(list(), "utf8")).toBe(JSON.stringify(given));
    expect(conf({ file, newVersions: true }).done).toBe("unchanged");
    writeFileSync(join(binDir, "tuning"), plugin(`["0.3.1","0.4.0"]`, "another's"), { mode: 0o755 });
    expect(installed().cniVersions).toEqual(["0.3.1", "0.4.0"]);
    expect(done(removeConf(confDir, file))).toEqual({ "10-flannel.conflist": "removed" });
    // One that cannot be asked has what every list had before.
    rmSync(join(binDir, "tuning"));
    expect(installed()).toEqual({ name: "own", cniVersion: "0.3.1", plugins: PLUGINS });
    writeFileSync(list(), JSON.stringify({ ...given, plugins: [] }));
    expect(done(removeConf(confDir, file))).toEqual({ "10-flannel.conflist": "kept" });
  });

  test("a file of one's own: a list, or a configuration of one plugin, which is installed as such", () => {
    const file = join(directory, "own.conf");
    writeFileSync(file, `{"name":"mynet","type":"flannel","delegate":{"isDefaultGateway":true}}`);
    expect(conf({ file })).toEqual({ done: "installed", path: join(confDir, "10-flannel.conf") });
    expect(done(removeConf(confDir, undefined))).toEqual({ "10-flannel.conf": "kept" });
    expect(done(removeConf(confDir, file))).toEqual({ "10-flannel.conf": "removed" });
    for (const text of ["{", "[]", `{"name":"x"}`, `{"plugins":[]}`]) {
      writeFileSync(file, text);
      expect(() => conf({ file })).toThrow(file);
    }
    expect(() => conf({ file: join(directory, "none") })).toThrow("there is no such file");
    expect(readdirSync(confDir)).toEqual([]);
  });
});

test("the program: installs itself as plugins that answer, says so, and is gone again", () => {
  const run = (...words: string[]) => {
    const directories = [`--bin-dir=${binDir}`, `--conf-dir=${confDir}`];
    const { exitCode, stdout, stderr } = Bun.spawnSync([FLANNELCTL, "install-cni", ...directories, ...words]);
    return { exitCode, out: stdout.toString(), err: stderr.toString() };
  };
  const installed = run("--cni-versions");
  expect(installed).toMatchObject({ exitCode: 0, err: "" });
  expect(installed.out.trim().split("\n").at(-1)).toBe(`installed ${join(confDir, "10-flannel.conflist")}`);
  for (const name of NAMES) {
    const { stdout } = Bun.spawnSync([join(binDir, name)], {
      env: { CNI_COMMAND: "VERSION" },
      stdin: Buffer.from(`{"cniVersion":"1.0.0"}`),
    });
    expect(JSON.parse(stdout.toString()).supportedVersions).toContain("1.1.0");
  }
  const removed = run("--uninstall", "--json");
  expect(JSON.parse(removed.out)).toEqual([
    { done: "removed", path: join(confDir, "10-flannel.conflist") },
    ...["flannel", "bridge", "host-local", "portmap", "loopback"].map((name) => ({
      done: "removed",
      path: join(binDir, name),
    })),
  ]);
  expect([...readdirSync(binDir), ...readdirSync(confDir)]).toEqual([]);
  expect(run("--no-plugins").out).toBe(`installed ${join(confDir, "10-flannel.conflist")}\n`);
  expect([readdirSync(binDir), readdirSync(confDir)]).toEqual([[], ["10-flannel.conflist"]]);
  expect(run("--no-conf", "--cni-versions")).toMatchObject({ exitCode: 2 });
});
