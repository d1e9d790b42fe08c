// `flannelctl certs`: an authority and the certificates of etcd, flanneld and their tools, by the steps for which the guides use cfssl and with its files.

import { type Command, InvalidArgumentError, Option } from "commander";
import type { CheckFlags } from "./certs/check.ts";
import type { issue, makeCa } from "./certs/make.ts";
import type { RenewFlags } from "./certs/renew.ts";
import type { Session } from "./session.ts";

/** A month: time enough to be told twice by a weekly check. */
const DEFAULT_DAYS = 30;

export function certs(program: Command, session: Session): void {
  const group = program.command("certs").description("make, check and renew the certificates of etcd and flanneld");
  addCa(group, session);
  addIssue(group, session);
  addCheck(group, session);
  addRenew(group, session);
}

function addCa(group: Command, session: Session): void {
  const command = group.command("ca").description("make a certificate authority");
  addSubject(command, "43800h, or what the request says")
    .option("--out <prefix>", "beginning of the files' names: PREFIX.pem, PREFIX-key.pem", "ca")
    .action((flags: Parameters<typeof makeCa>[0]) =>
      session.run(async (signal) => (await import("./certs/make.ts")).makeCa(flags, session, new Date(), signal)),
    );
}

function addIssue(group: Command, session: Session): void {
  const command = group
    .command("issue")
    .description("make a certificate of a server, a client, or a peer that is both");
  addSubject(command, "8760h, or what the profile says")
    .option("--hosts <list>", "DNS names and addresses by which it is reached: etcd.example,10.0.0.1,::1")
    .option("--usage <role>", "server, client or peer; a member of an etcd cluster is a peer (default: peer)")
    .option("--config <file>", "signing configuration in cfssl's JSON, instead of --usage and --expiry")
    .option("--profile <name>", "profile of the signing configuration")
    .addOption(caOption())
    .addOption(caKeyOption())
    .requiredOption("--out <prefix>", "beginning of the files' names: PREFIX.pem, PREFIX-key.pem")
    .action((flags: Parameters<typeof issue>[0]) =>
      session.run(async (signal) => (await import("./certs/make.ts")).issue(flags, session, new Date(), signal)),
    );
}

function addCheck(group: Command, session: Session): void {
  group
    .command("check")
    .description(
      "show certificates; exit code 1 when one has ended, ends soon, is not signed by --ca, or has another's key",
    )
    .argument("<files...>", "certificates in PEM form")
    .option("--ca <file>", "certificate of the authority that must have signed them")
    .addOption(daysOption("--warn-days <n>", "days before its end from which a certificate is a fault"))
    .option("--json", "print the result as JSON", false)
    .action((files: readonly string[], flags: CheckFlags) =>
      session.run(async () => (await import("./certs/check.ts")).check(files, flags, session, new Date())),
    );
}

function addRenew(group: Command, session: Session): void {
  group
    .command("renew")
    .description("make certificates that end soon again, with the same subject, names, usages and length of life")
    .argument("<prefixes...>", "beginnings of the files' names, as given to --out")
    .addOption(caOption())
    .addOption(caKeyOption())
    .addOption(daysOption("--days <n>", "renew what ends within so many days, leave the rest"))
    .option("--new-key", "with a new key of the same kind; else the key stays, and only one file changes", false)
    .option("--json", "print the result as JSON", false)
    .action((files: readonly string[], flags: RenewFlags) =>
      session.run(async (signal) =>
        (await import("./certs/renew.ts")).renew(files, flags, session, new Date(), signal),
      ),
    );
}

/** What an authority and a certificate have in common. */
function addSubject(command: Command, expiry: string): Command {
  return command
    .option("--csr <file>", "request in cfssl's JSON; flags go before what it says")
    .option("--cn <name>", "common name; etcd with authentication takes a client's for its user")
    .option("--org <name>", "organization")
    .option(
      "--key <kind>",
      "rsa:2048 to rsa:8192, ecdsa:256, ecdsa:384, ecdsa:521 (default: ecdsa:256, or the request's)",
    )
    .option("--expiry <time>", `how long it lives: 8760h, 365d, 10y (default: ${expiry})`)
    .option("--keep-csr", "write PREFIX.csr as well, as cfssljson does", false)
    .option("--force", "replace files that exist", false)
    .option("--json", "print the result as JSON", false);
}

function caOption(): Option {
  return new Option("--ca <file>", "certificate of the authority that signs").default("ca.pem");
}

function caKeyOption(): Option {
  return new Option("--ca-key <file>", "key of the authority (default: beside its certificate, ca-key.pem)");
}

function daysOption(flags: string, description: string): Option {
  return new Option(flags, description).default(DEFAULT_DAYS).argParser((text) => {
    if (/^\d{1,5}$/.test(text)) return Number(text);
    throw new InvalidArgumentError("want a number of days from 0 to 99999");
  });
}
