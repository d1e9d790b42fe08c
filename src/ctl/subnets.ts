// `flannelctl subnets`: who leased what. In place of `etcdctl ls …/subnets` and `etcdctl get`.

import type { Command } from "commander";
import { parseNetworkConfig } from "../config/net_conf.ts";
import type { NetworkConfig } from "../config/network.ts";
import type { LeaseSource } from "../subnet/registry.ts";
import { openLeases } from "./leases.ts";
import type { Session } from "./session.ts";
import { addStoreOptions, type StoreFlags } from "./store_options.ts";
import { findLease, type Listed, leaseAround, listLeases, readEnds } from "./subnets/listed.ts";
import { leaseJson, leaseTable, leaseText } from "./subnets/print.ts";
import { line } from "./terminal.ts";

interface ListFlags extends StoreFlags {
  readonly json: boolean;
  readonly ttl: boolean;
}

export function subnets(program: Command, session: Session): void {
  const group = program.command("subnets").description("show the leases of the network");

  const list = group
    .command("ls")
    .description("list all leases and reservations, also those that nodes refuse, with the reason")
    .option("--no-ttl", "leave out how long leases last: etcd v3 is asked for each of them")
    .option("--json", "print the leases as JSON", false)
    .action((flags: ListFlags) =>
      session.run(async (signal) => {
        using store = await openLeases(flags, process.env, signal);
        const leases = await readLeases(store, flags.ttl, signal);
        const now = Date.now();
        if (flags.json)
          line(
            session.out,
            JSON.stringify(
              leases.map((lease) => leaseJson(lease, now)),
              undefined,
              2,
            ),
          );
        else if (leases.length > 0) for (const text of leaseTable(leases, now)) line(session.out, text);
        else line(session.err, `${store.description} holds no lease`);
        return 0;
      }),
    );
  addStoreOptions(list, { kubernetes: true });
  list.addHelpText(
    "after",
    "\nExamples:\n  flannelctl subnets ls --etcd-prefix=/kubernetes/network\n  flannelctl subnets ls --store-file=store.db --json\n  flannelctl subnets ls --kube-subnet-mgr",
  );

  const get = group
    .command("get")
    .description("show one lease; exit code 1 when there is none")
    .argument("<lease>", "its key, its subnet, its node's public IP, or any address in its subnet")
    .option("--raw", "print the stored value as it is", false)
    .option("--json", "print the lease as JSON", false)
    .action((wanted: string, flags: StoreFlags & { raw: boolean; json: boolean }) =>
      session.run(async (signal) => {
        using store = await openLeases(flags, process.env, signal);
        const leases = await readLeases(store, false, signal);
        const found = findLease(leases, wanted) ?? leaseAround(leases, wanted);
        if (!found) {
          line(
            session.err,
            `${store.description} holds no lease for ${wanted}; flannelctl subnets ls shows those there are`,
          );
          return 1;
        }
        const ends = await readEnds(store, [found.entry], signal);
        const lease = { ...found, endsAt: found.endsAt ?? ends.get(found.entry.key) };
        const now = Date.now();
        if (flags.json) line(session.out, JSON.stringify(leaseJson(lease, now), undefined, 2));
        else line(session.out, flags.raw ? lease.entry.value : leaseText(lease, now));
        return 0;
      }),
    );
  addStoreOptions(get, { kubernetes: true });
  get.addHelpText(
    "after",
    "\nExamples:\n  flannelctl subnets get 172.30.19.0/24\n  flannelctl subnets get 192.0.2.1 --raw",
  );
}

/** All leases, in order of creation, judged by the stored configuration if that is right. */
export async function readLeases(store: LeaseSource, ttl: boolean, signal: AbortSignal): Promise<Listed[]> {
  const { entries } = await store.entries(signal);
  const ends = ttl ? await readEnds(store, entries, signal) : new Map<string, undefined>();
  return listLeases(entries, configOf((await store.config(signal)).text), ends);
}

/** undefined when there is none, or none that is right: `config check` says more. */
export function configOf(text: string | undefined): NetworkConfig | undefined {
  try {
    return text === undefined ? undefined : parseNetworkConfig(text, "stored");
  } catch {
    return undefined;
  }
}
