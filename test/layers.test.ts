// Holds the shape of the source: which folder may import which, and what a file may be called and hold. The table is ARCHITECTURE.md's, for the folders
// that there are; a folder without a row fails, so that its row is thought about when it is made.

import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";

type Side = "pure" | "effect" | "program";

interface Layer {
  /** pure: computes, no I/O; effect: touches the world; program: joins both. */
  readonly side: Side;
  /** Folders of src that it may import, besides itself; a program without any may import all. */
  readonly mayImport: readonly string[];
}

const LAYERS: Readonly<Record<string, Layer>> = {
  ip: { side: "pure", mayImport: [] },
  lease: { side: "pure", mayImport: ["ip"] },
  config: { side: "pure", mayImport: ["ip"] },
  firewall: { side: "pure", mayImport: ["ip"] },
  state: { side: "pure", mayImport: ["ip", "firewall"] },
  backend: { side: "pure", mayImport: ["ip", "lease", "config", "state"] },
  sys: { side: "effect", mayImport: [] },
  netlink: { side: "effect", mayImport: ["ip", "sys"] },
  packet_loop: { side: "effect", mayImport: ["sys", "dataplane"] },
  vici: { side: "effect", mayImport: [] },
  kernel: { side: "effect", mayImport: ["ip", "sys", "netlink", "vici", "firewall", "state", "packet_loop"] },
  subnet: { side: "effect", mayImport: ["ip", "lease", "config"] },
  dataplane: { side: "effect", mayImport: ["ip", "sys"] },
  // A pod waits for what it loads.
  cni: { side: "program", mayImport: ["ip", "config", "sys", "netlink"] },
  daemon: { side: "program", mayImport: [] },
  ctl: { side: "program", mayImport: [] },
};

/** Lines: what one sitting can read. */
const MAX_LINES = 400;
const FORBIDDEN_WORDS = [
  "util",
  "utils",
  "helper",
  "helpers",
  "common",
  "handler",
  "handlers",
  "service",
  "services",
  "impl",
];
const FORBIDDEN_FILES = ["index.ts", "mod.ts"];

/** Path below src → text. */
type Sources = ReadonlyMap<string, string>;

function readSources(root: string): Sources {
  const paths = readdirSync(root, { recursive: true, encoding: "utf8" }).filter((path) => path.endsWith(".ts"));
  return new Map(paths.map((path) => [path, readFileSync(join(root, path), "utf8")]));
}

/** What a file imports or passes on, types included. */
function importsOf(text: string): string[] {
  const statements = /^(?:import|export)\b(?:[^"';]*?\bfrom)?\s*"([^"]+)"|\b(?:import|require)\(\s*["']([^"']+)["']/gm;
  return [...text.matchAll(statements)].map(([, from, dynamic]) => from ?? dynamic ?? "");
}

function isTest(path: string): boolean {
  return path.endsWith(".test.ts");
}

/** Every broken rule, one line each. */
function violations(sources: Sources): string[] {
  return [...sources].flatMap(([path, text]) => [
    ...nameViolations(path),
    ...textViolations(path, text),
    ...(isTest(path) ? [] : importsOf(text).flatMap((specifier) => importViolations(path, specifier))),
  ]);
}

function nameViolations(path: string): string[] {
  const name = path.split("/").at(-1) ?? "";
  const found = FORBIDDEN_FILES.includes(name) ? [`${path}: a barrel's name`] : [];
  for (const word of path.replace(/\.ts$/, "").split(/[/_.-]/)) {
    if (FORBIDDEN_WORDS.includes(word.toLowerCase())) found.push(`${path}: named ${word}, which says nothing`);
  }
  const folder = path.includes("/") ? (path.split("/")[0] ?? "") : undefined;
  if (folder !== undefined && !LAYERS[folder]) found.push(`${path}: the folder ${folder} has no row in LAYERS`);
  return found;
}

function textViolations(path: string, text: string): string[] {
  const lines = text.split("\n").length - 1;
  return [
    // What a generator wrote is as long as it is.
    ...(lines > MAX_LINES && !path.endsWith(".gen.ts") ? [`${path}: ${lines} lines, at most ${MAX_LINES}`] : []),
    ...(/^export default\b/m.test(text) ? [`${path}: a default export`] : []),
    ...(/^export\b(?:[^"';=(]*?\bfrom)\s*"/m.test(text) ? [`${path}: passes on what another file exports`] : []),
  ];
}

function importViolations(path: string, specifier: string): string[] {
  const folder = path.includes("/") ? (path.split("/")[0] ?? "") : undefined;
  const layer = folder === undefined ? undefined : LAYERS[folder];
  if (specifier === "bun:ffi" && folder !== "sys") return [`${path}: imports bun:ffi, which is for sys alone`];
  if (!specifier.startsWith(".")) {
    const runtime = /^(?:node:|bun\b)/.test(specifier);
    return layer?.side === "pure" && runtime ? [`${path}: imports ${specifier}, but a pure folder does no I/O`] : [];
  }
  const target = normalize(join(dirname(path), specifier));
  if (!/\.(?:ts|json|yaml)$/.test(target)) return [`${path}: imports ${specifier} without its ending`];
  if (layer === undefined || (layer.side === "program" && layer.mayImport.length === 0)) return [];
  const targetFolder = target.split("/")[0] ?? "";
  const allowed = targetFolder === folder || layer.mayImport.includes(targetFolder);
  return allowed
    ? []
    : [`${path}: imports ${target}, but ${folder} may import ${layer.mayImport.join(", ") || "nothing"}`];
}

test("the source keeps to the layers", () => {
  const sources = readSources(join(import.meta.dir, "../src"));
  expect(sources.size).toBeGreaterThan(20);
  expect(violations(sources)).toEqual([]);
});

test("the table has no row for a folder that is gone, and none that imports a program", () => {
  const folders = readdirSync(join(import.meta.dir, "../src"), { withFileTypes: true });
  const names = folders.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  expect(Object.keys(LAYERS).filter((folder) => !names.includes(folder))).toEqual([]);
  for (const [folder, { side, mayImport }] of Object.entries(LAYERS)) {
    const sides = mayImport.map((name) => LAYERS[name]?.side);
    expect([folder, sides.filter((other) => other === "program" || (side === "pure" && other !== "pure"))]).toEqual([
      folder,
      [],
    ]);
  }
});

test.each([
  ["ip/a.ts", 'import { x } from "../lease/key.ts";', "imports lease/key.ts, but ip may import nothing"],
  ["lease/a.ts", 'import type { X } from "../config/x.ts";', "imports config/x.ts, but lease may import ip"],
  [
    "state/a.ts",
    'import {\n  x,\n  y,\n} from "../kernel/x.ts";',
    "imports kernel/x.ts, but state may import ip, firewall",
  ],
  ["kernel/a.ts", 'const x = await import("../daemon/x.ts");', "imports daemon/x.ts, but kernel may import"],
  ["subnet/a.ts", 'import "../sys/x.ts";', "imports sys/x.ts, but subnet may import ip, lease, config"],
  ["config/a.ts", 'import { readFileSync } from "node:fs";', "imports node:fs, but a pure folder does no I/O"],
  [
    "cni/a.ts",
    'const x = await import("../daemon/x.ts");',
    "imports daemon/x.ts, but cni may import ip, config, sys, netlink",
  ],
  ["daemon/a.ts", 'import { dlopen } from "bun:ffi";', "imports bun:ffi, which is for sys alone"],
  ["flanneld.ts", 'import { dlopen } from "bun:ffi";', "imports bun:ffi, which is for sys alone"],
  ["ip/a.ts", 'import { x } from "./b";', "imports ./b without its ending"],
  ["ip/a.ts", "export default 1;", "a default export"],
  ["ip/a.ts", 'export * from "./b.ts";', "passes on what another file exports"],
  ["ip/a.ts", 'export { x } from "./b.ts";', "passes on what another file exports"],
  ["ip/a.ts", 'export type { X } from "./b.ts";', "passes on what another file exports"],
  ["ip/a.ts", "x\n".repeat(401), "401 lines, at most 400"],
  ["ip/index.ts", "", "a barrel's name"],
  ["ip/address_util.ts", "", "named util, which says nothing"],
  ["kernel/common/a.ts", "", "named common, which says nothing"],
  ["plugins/a.ts", "", "the folder plugins has no row in LAYERS"],
])("a breach is found: %s with %j", (path, text, line) => {
  expect(violations(new Map([[path, text]])).join("\n")).toStartWith(`${path}: ${line}`);
});

test.each([
  ["backend/a.ts", 'import { x } from "../config/fault.ts";\nimport * as v from "valibot";'],
  ["sys/a.ts", 'import { dlopen } from "bun:ffi";\nimport { readFileSync } from "node:fs";'],
  ["daemon/a.ts", 'import { x } from "../kernel/mirror.ts";\nimport { version } from "../../package.json";'],
  ["ip/a.test.ts", 'import { isIP } from "node:net";'],
  ["ip/a.ts", 'export const from = "./b.ts";\nexport function f(a = "x") {}'],
  ["ip/a.ts", "x\n".repeat(400)],
])("what is allowed is let through: %s with %j", (path, text) => {
  expect(violations(new Map([[path, text]]))).toEqual([]);
});
