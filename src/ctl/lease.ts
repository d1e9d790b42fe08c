// `flannelctl lease revoke`: takes a subnet back, as `etcdctl rm` does, but only the lease that was looked at.

import type { Command } from "commander";
import { type Session, UsageError } from "./session.ts";
import { addStoreOptions, openStore, type StoreFlags, storeChoiceOf } from "./store_options.ts";
import { findLease, type Listed } from "./subnets/listed.ts";
import { readLeases } from "./subnets.ts";
import { line } from "./terminal.ts";

interface RevokeFlags extends StoreFlags {
  readonly yes: boolean;
  readonly json: boolean;
}

export function lease(program: Command, session: Session): void {
  const group = program.command("lease").description("change single leases");
  const command = group
    .command("revoke")
    .description("remove a lease; its flanneld, if it runs, takes a subnet anew, the same one first")
    .argument("<lease>", "its key, its subnet, or its node's public IP")
    .option("--yes", "do not ask", false)
    .option("--json", "print the outcome as JSON", false)
    .action((wanted: string, flags: RevokeFlags) => session.run((signal) => revoke(wanted, flags, session, signal)));
  addStoreOptions(command);
  command.addHelpText(
    "after",
    "\nStop the node's flanneld first if the subnet is to become free.\n\nExamples:\n  flannelctl lease revoke 172.30.19.0/24\n  flannelctl lease revoke 192.0.2.1 --yes",
  );
}

async function revoke(wanted: string, flags: RevokeFlags, session: Session, signal: AbortSignal): Promise<number> {
  if (!flags.yes && !session.input.live) {
    throw new UsageError(`cannot revoke ${wanted} without asking: standard input is no terminal; give --yes`);
  }
  using store = await openStore(storeChoiceOf(flags, process.env), { make: false }, signal);
  const found = findLease(await readLeases(store, false, signal), wanted);
  if (!found)
    throw new Error(`cannot revoke ${wanted}: ${store.description} holds no lease for it; see flannelctl subnets ls`);
  const { entry } = found;
  const what = `the ${entry.reserved ? "reservation" : "lease"} ${entry.key} of ${ownerOf(found)}`;
  if (!flags.yes && !(await session.input.agrees(`revoke ${what}?`, signal))) {
    line(session.err, "nothing was changed");
    return 1;
  }
  if ((await store.remove(entry, signal)) === "conflict") {
    line(
      session.err,
      `cannot revoke ${what}: it changed in this moment; look at it again with flannelctl subnets get ${entry.key}`,
    );
    return 1;
  }
  const note = `flanneld of ${ownerOf(found)}, if it runs, notices at once and takes a subnet anew, the same one first`;
  if (flags.json)
    line(session.out, JSON.stringify({ key: entry.key, outcome: "revoked", value: entry.value, note }, undefined, 2));
  else {
    line(session.out, `revoked ${what}`);
    line(session.out, note);
  }
  return 0;
}

function ownerOf({ publicIp }: Listed): string {
  return Object.values(publicIp).join(" ") || "an unknown node";
}
