// What `flannelctl migrate` does: keeps two stores in step, brings them in step once, verifies, or finishes.

import { parseLeaseAttributes } from "../../lease/attributes.ts";
import type { StoreChoice } from "../../subnet/open.ts";
import type { Registry } from "../../subnet/registry.ts";
import { type MigrateFlags, migrationStores } from "../migrate.ts";
import type { Session } from "../session.ts";
import { openStore } from "../store_options.ts";
import { line, paint } from "../terminal.ts";
import { type Difference, differences } from "./difference.ts";
import { bringInStep, keepInStep, LOOP_TIMING } from "./keep_in_step.ts";
import { Migration, type MigrationEvent, type Pass } from "./migration.ts";
import { COPY_TIMING, type Side, type Step } from "./reconcile.ts";

interface Stores {
  readonly from: Registry;
  readonly to: Registry;
}

export async function migrateStores(flags: MigrateFlags, session: Session, signal: AbortSignal): Promise<number> {
  const choices = migrationStores(flags);
  using from = await openStore(choices.from, { make: false }, signal);
  using to = await openStore(choices.to, { make: !flags.verify }, signal);
  const stores = { from, to };
  if (flags.verify) return await verify(stores, flags, session, signal);
  const onEvent = (event: MigrationEvent) => tell(event, stores, flags, session);
  const migration = new Migration(from, to, { timing: COPY_TIMING, now: Date.now, onEvent });
  // The first time nothing is tried again: a wrong name or password, or two networks, must be told and not waited for.
  const first = await bringInStep(migration, true, LOOP_TIMING.firstRetryMs, signal);
  if (flags.finish) return await finish(first, choices.from, stores, flags, session, signal);
  tellInStep(first, stores, flags, session);
  if (flags.once) return first.problems.size > 0 ? 1 : 0;
  let told = countsOf(first);
  const onInStep = (pass: Pass) => {
    if (countsOf(pass) !== told) tellInStep(pass, stores, flags, session);
    told = countsOf(pass);
  };
  const onFailing = (error: Error) => remark("failing", `${error.message}; trying again`, flags, session);
  const onRecovered = () => remark("recovered", "both stores answer again", flags, session);
  await keepInStep(migration, [from, to], LOOP_TIMING, { onInStep, onFailing, onRecovered }, signal);
  return 0;
}

async function verify(stores: Stores, flags: MigrateFlags, session: Session, signal: AbortSignal): Promise<number> {
  const found = differences(await contentOf(stores.from, signal), await contentOf(stores.to, signal));
  if (flags.json)
    line(session.out, JSON.stringify({ kind: "verified", equal: found.length === 0, differences: found }));
  else if (found.length === 0)
    line(session.out, `${stores.from.description} and ${stores.to.description} hold the same`);
  else for (const difference of found) line(session.out, differenceText(difference, stores));
  return found.length === 0 ? 0 : 1;
}

async function contentOf(store: Registry, signal: AbortSignal) {
  return { config: (await store.config(signal)).text, entries: (await store.entries(signal)).entries };
}

async function finish(
  pass: Pass,
  old: StoreChoice,
  stores: Stores,
  flags: MigrateFlags,
  session: Session,
  signal: AbortSignal,
): Promise<number> {
  if (pass.owned.from.length > 0 && !flags.force) {
    const { entries } = await stores.from.entries(signal);
    const values = new Map(entries.map(({ key, value }) => [key, value]));
    const nodes = pass.owned.from.map((key) => ({ key, publicIp: publicIpOf(values.get(key) ?? "") }));
    if (flags.json) line(session.out, JSON.stringify({ kind: "unfinished", nodes }));
    for (const { key, publicIp } of nodes)
      line(session.err, `${publicIp} (${key}) still renews its lease in ${stores.from.description}`);
    line(
      session.err,
      "cannot finish: restart flanneld on these nodes with the new store, or wait until leases of nodes that are gone have ended; --force finishes all the same",
    );
    return 1;
  }
  const code = await verify(stores, flags, session, signal);
  if (code !== 0) return code;
  const steps = [
    "end the flannelctl migrate that still runs, if one does",
    `take the old side away, so that nothing takes it for the network: ${removal(old)}`,
  ];
  if (flags.json)
    line(
      session.out,
      JSON.stringify({ kind: "finished", leases: pass.owned.to.length, reserved: pass.reserved, next: steps }),
    );
  else {
    line(session.out, `finished: ${stores.to.description} has it all; what is left to do:`);
    for (const step of steps) line(session.out, `  ${step}`);
  }
  return 0;
}

/** How the old side's keys are removed; credentials are left for the operator to add. */
function removal(choice: StoreChoice): string {
  if (choice.kind === "embedded") return `rm ${choice.path} ${choice.path}-wal ${choice.path}-shm`;
  const { endpoints, prefix } = choice.etcd;
  const command = choice.api === "2" ? "ETCDCTL_API=2 etcdctl" : "ETCDCTL_API=3 etcdctl";
  return `${command} --endpoints=${endpoints.join(",")} ${choice.api === "2" ? `rm --recursive ${prefix}` : `del --prefix ${prefix}/`}`;
}

function countsOf({ owned, reserved }: Pass): string {
  return `${owned.from.length} ${owned.to.length} ${reserved}`;
}

function tellInStep(pass: Pass, { from, to }: Stores, flags: MigrateFlags, session: Session): void {
  const { owned, reserved } = pass;
  if (flags.json) {
    const counts = { from: owned.from.length, to: owned.to.length, reserved };
    line(session.out, JSON.stringify({ kind: "in step", ...counts, problems: Object.fromEntries(pass.problems) }));
    return;
  }
  const text = `in step; leases renewed in ${from.description}: ${owned.from.length}, in ${to.description}: ${owned.to.length}; reservations: ${reserved}`;
  line(session.out, paint(session.out, pass.problems.size > 0 ? "yellow" : "green", text));
}

function tell(event: MigrationEvent, stores: Stores, flags: MigrateFlags, session: Session): void {
  if (flags.json) {
    line(session.out, JSON.stringify(event));
    return;
  }
  switch (event.kind) {
    case "written":
      // A copy that follows its origin's time is no news.
      if (event.step.kind !== "renew")
        line(session.out, stepText(event.key, event.step.kind, stores[event.step.on].description));
      return;
    case "problem":
      line(session.err, paint(session.err, "red", `${event.key}: ${event.reason}`));
      return;
    case "config copied":
      line(session.out, `copied the configuration to ${stores[event.on].description}`);
      return;
    case "data lost":
      line(
        session.err,
        paint(
          session.err,
          "yellow",
          `${stores[event.side].description} has lost its data or is another one: it is filled again from the other side`,
        ),
      );
      return;
  }
}

function stepText(key: string, kind: Exclude<Step["kind"], "renew">, store: string): string {
  switch (kind) {
    case "create":
      return `copied ${key} to ${store}`;
    case "replace":
      return `updated ${key} in ${store}`;
    case "remove":
      return `removed ${key} from ${store}`;
    case "evict":
      return `two nodes took ${key} at the same time: the one of ${store} gives way, the other's is copied there`;
  }
}

function remark(kind: string, text: string, flags: MigrateFlags, session: Session): void {
  if (flags.json) line(session.out, JSON.stringify({ kind, text }));
  else line(session.err, text);
}

function differenceText(difference: Difference, stores: Stores): string {
  const name = (side: Side) => stores[side].description;
  switch (difference.kind) {
    case "config":
      return `config: ${difference.from ?? "none"} in ${name("from")}, ${difference.to ?? "none"} in ${name("to")}`;
    case "missing":
      return `${difference.key}: not in ${name(difference.on)}: ${difference.value}`;
    case "value":
      return `${difference.key}: ${difference.from} in ${name("from")}, ${difference.to} in ${name("to")}`;
    case "reserved":
      return `${difference.key}: reserved in ${name(difference.on)} alone`;
  }
}

function publicIpOf(value: string): string {
  const attributes = parseLeaseAttributes(value);
  return "kind" in attributes ? "an unknown node" : Object.values(attributes.publicIp).join(" ");
}
