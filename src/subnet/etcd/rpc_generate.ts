// Makes rpc.gen.ts from etcd's own definitions, as the npm package etcd3 carries them: `make proto`. One file of them all,
// without the options of other generators (google.api.http, gogoproto) and without comments, and only the methods that the
// registry uses with their messages, so that loading it costs little. Package and message names do not matter on the wire;
// the package of the services does (etcdserverpb).

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const ROOT = join(import.meta.dir, "../../..");
const MODULES = join(ROOT, "node_modules");
const DEFINITIONS = ["kv", "auth", "rpc"].map((name) => join(MODULES, "etcd3/proto", `${name}.proto`));
const METHODS = [
  ...["KV.Range", "KV.Put", "KV.Txn", "Watch.Watch", "Auth.Authenticate"],
  ...["Lease.LeaseGrant", "Lease.LeaseKeepAlive", "Lease.LeaseRevoke", "Lease.LeaseTimeToLive"],
];

function definitions(): string {
  const text = DEFINITIONS.map((path) => readFileSync(path, "utf8"))
    .join("\n")
    .replace(/\/\/.*$|\/\*[\s\S]*?\*\//gm, "")
    .replace(/^\s*option \([^)]*\) = \{[\s\S]*?\n\s*\};/gm, "")
    .replace(/^(?:syntax|package|import|option) .*$/gm, "")
    .replace(/\b(?:mvccpb|authpb)\./g, "");
  return `syntax = "proto3";\npackage etcdserverpb;\n${text}`;
}

/** The text of rpc.gen.ts. */
export function generate(): string {
  const directory = mkdtempSync(join(tmpdir(), "flannel-proto-"));
  try {
    writeFileSync(join(directory, "rpc.proto"), definitions());
    writeFileSync(join(directory, "buf.yaml"), "version: v2\n");
    const plugin = {
      local: [process.execPath, join(MODULES, "@bufbuild/protoc-gen-es/bin/protoc-gen-es")],
      out: "out",
      opt: ["target=ts", "erasable_syntax=true"],
    };
    const template = JSON.stringify({ version: "v2", plugins: [plugin] });
    const buf = join(MODULES, "@bufbuild/buf/bin/buf");
    const types = METHODS.flatMap((method) => ["--type", `etcdserverpb.${method}`]);
    const { exitCode, stderr } = Bun.spawnSync(
      [process.execPath, buf, "generate", "rpc.proto", "--template", template, ...types],
      { cwd: directory, env: { ...process.env, BUF_CACHE_DIR: directory } },
    );
    if (exitCode !== 0) throw new Error(`cannot generate rpc.gen.ts: ${stderr}`);
    const made = readFileSync(join(directory, "out/rpc_pb.ts"), "utf8");
    return made.replace("/* eslint-disable */", "// Made by rpc_generate.ts; do not edit.");
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

if (import.meta.main) writeFileSync(join(import.meta.dir, "rpc.gen.ts"), generate());
