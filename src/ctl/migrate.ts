// `flannelctl migrate`: moves a network from one store to another while it runs. docs/migration.md is the operator's guide.

import { type Command, Option } from "commander";
import type { StoreChoice } from "../subnet/open.ts";
import { type Session, UsageError } from "./session.ts";
import { addStoreOptions, type StoreFlags, storeChoiceOf } from "./store_options.ts";

const KINDS = ["etcd2", "etcd3", "embedded"] as const;
type Kind = (typeof KINDS)[number];

export interface MigrateFlags extends StoreFlags {
  readonly from: Kind;
  readonly to: Kind;
  readonly once: boolean;
  readonly verify: boolean;
  readonly finish: boolean;
  readonly force: boolean;
  readonly json: boolean;
}

export function migrate(program: Command, session: Session): void {
  const command = program
    .command("migrate")
    .description("copy a network to another store and keep both in step, while nodes move over one by one")
    .addOption(new Option("--from <store>", "where the network is").choices(KINDS).makeOptionMandatory())
    .addOption(new Option("--to <store>", "where it goes").choices(KINDS).makeOptionMandatory())
    .option("--once", "bring both in step once and end", false)
    .option("--verify", "change nothing; print what differs, exit code 1 when something does", false)
    .option(
      "--finish",
      "bring both in step, verify, and say what is left to do; refused while nodes still use the old store",
      false,
    )
    .option("--force", "finish although nodes still use the old store", false)
    .option("--json", "print events and results as JSON, one a line", false)
    .action((flags: MigrateFlags) =>
      session.run(async (signal) => (await import("./migrate/commands.ts")).migrateStores(flags, session, signal)),
    );
  addStoreOptions(command, { without: ["etcd-api"] });
  addStoreOptions(command, { prefix: "from-", without: ["etcd-api"] });
  command.addHelpText(
    "after",
    "\nIt runs until it is interrupted, and may be killed and started again at any time.\n\nExamples:\n" +
      "  flannelctl migrate --from etcd2 --to etcd3 --etcd-endpoints=https://192.0.2.1:2379 --etcd-cafile=ca.pem\n" +
      "  flannelctl migrate --from etcd2 --to etcd3 --verify\n" +
      "  flannelctl migrate --from etcd2 --to etcd3 --finish\n" +
      "  flannelctl migrate --from embedded --from-store-file=store.db --to etcd3",
  );
}

/** The two stores that the flags name. Throws UsageError when they are one. */
export function migrationStores(flags: MigrateFlags): { readonly from: StoreChoice; readonly to: StoreChoice } {
  const of = (kind: Kind, prefix: string): StoreChoice => {
    // Which store it is says --from and --to alone, whatever the environment names for flanneld.
    if (kind === "embedded") {
      const choice = storeChoiceOf(flags, process.env, prefix);
      if (choice.kind === "embedded") return choice;
      throw new UsageError(`--${prefix === "" ? "to" : "from"} embedded: --${prefix}store-file names no file`);
    }
    const withoutFile = { ...flags, storeFile: "", fromStoreFile: "" };
    const choice = storeChoiceOf(withoutFile, process.env, prefix);
    if (choice.kind === "embedded") throw new RangeError("Cannot be a file");
    return { ...choice, api: kind === "etcd2" ? "2" : "3" };
  };
  const stores = { from: of(flags.from, "from-"), to: of(flags.to, "") };
  if (Bun.deepEquals(stores.from, stores.to)) {
    throw new UsageError(
      "--from and --to name the same store; give --from-store-file, --from-etcd-endpoints or --from-etcd-prefix",
    );
  }
  return stores;
}
