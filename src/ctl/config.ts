// `flannelctl config`: the network configuration in the store, read, checked, written and edited. In place of `etcdctl set` and
// `etcdctl put`, which write whatever they are given.

import type { Command } from "commander";
import type { Session } from "./session.ts";
import { addStoreOptions, type StoreFlags } from "./store_options.ts";

export function config(program: Command, session: Session): void {
  const group = program.command("config").description("read, check, write and edit the network configuration");

  const get = group
    .command("get")
    .description("print the stored configuration as it is; exit code 1 when there is none")
    .option("--json", "print store, key and configuration as JSON", false)
    .action((flags: StoreFlags & { json: boolean }) =>
      session.run(async (signal) => (await import("./config/commands.ts")).get(flags, session, signal)),
    );
  addStoreOptions(get);
  get.addHelpText(
    "after",
    examples("flannelctl config get --etcd-endpoints=https://192.0.2.1:2379 --etcd-cafile=ca.pem"),
  );

  const check = group
    .command("check")
    .description(
      "check a configuration, by default the stored one, and say what it means; exit code 1 when it is wrong",
    )
    .argument("[file]", "a file, - for standard input, or the JSON itself")
    .option("--json", "print faults, warnings and meaning as JSON", false)
    .action((source: string | undefined, flags: StoreFlags & { json: boolean }) =>
      session.run(async (signal) => (await import("./config/commands.ts")).check(source, flags, session, signal)),
    );
  addStoreOptions(check);
  check.addHelpText(
    "after",
    examples("flannelctl config check net-conf.json", "flannelctl config check --store-file=store.db"),
  );

  const set = group
    .command("set")
    .description("check a configuration, show what it changes, and write it; exit code 1 when it is not written")
    .argument("<source>", "a file, - for standard input, or the JSON itself")
    .option("--dry-run", "only show what would change", false)
    .option("--force", "write it although leases have no place in it", false)
    .option("--json", "print the outcome as JSON", false)
    .action((source: string, flags: StoreFlags & { dryRun: boolean; force: boolean; json: boolean }) =>
      session.run(async (signal) => (await import("./config/commands.ts")).set(source, flags, session, signal)),
    );
  addStoreOptions(set);
  set.addHelpText(
    "after",
    examples(
      "flannelctl config set net-conf.json --dry-run",
      `flannelctl config set '{"Network":"172.30.0.0/16","SubnetLen":24,"Backend":{"Type":"vxlan"}}' --etcd-prefix=/kubernetes/network`,
    ),
  );

  const edit = group
    .command("edit")
    .description("edit the stored configuration with VISUAL or EDITOR; it is checked before it is written")
    .option("--force", "write it although leases have no place in it", false)
    .option("--json", "print the outcome as JSON", false)
    .action((flags: StoreFlags & { force: boolean; json: boolean }) =>
      session.run(async (signal) => (await import("./config/commands.ts")).edit(flags, session, signal)),
    );
  addStoreOptions(edit);
  edit.addHelpText("after", examples("EDITOR=nano flannelctl config edit --etcd-prefix=/kubernetes/network"));
}

function examples(...lines: string[]): string {
  return `\nExamples:\n${lines.map((text) => `  ${text}`).join("\n")}`;
}
