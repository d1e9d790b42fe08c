// A subnet manager over an embedded store of its own, for tests of what it does: they call `useManagers` once and take the rest from here.

import { afterEach, beforeEach } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { formatLeaseAttributes } from "../../src/lease/attributes.ts";
import { EmbeddedRegistry } from "../../src/subnet/embedded.ts";
import type { SubnetManager } from "../../src/subnet/manager.ts";
import type { Registry, RegistryEntry } from "../../src/subnet/registry.ts";
import { createSubnetManager, type SubnetManagerOptions } from "../../src/subnet/registry_manager.ts";
import type { SubnetEvent } from "../../src/subnet/store_retry.ts";
import { node } from "./manager_fixture.ts";

export const NETWORK = '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}';

export let directory = "";
export let controller = new AbortController();
export let signal = controller.signal;
export let events: SubnetEvent[] = [];
const opened: Disposable[] = [];

/** A new directory and a new signal for each test of the file that calls it. */
export function useManagers(): void {
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "flannel-manager-"));
    controller = new AbortController();
    signal = controller.signal;
    events = [];
  });
  afterEach(() => {
    controller.abort();
    for (const each of opened.splice(0)) each[Symbol.dispose]();
    rmSync(directory, { recursive: true, force: true });
  });
}

export async function registry(): Promise<EmbeddedRegistry> {
  const made = await EmbeddedRegistry.open(join(directory, "store.db"), { lockWaitMs: 200 }, signal);
  opened.push(made);
  return made;
}

export function manager(over: Registry, options: Partial<SubnetManagerOptions> = {}): SubnetManager {
  const retry = { firstMs: 5, maxMs: 50 };
  return createSubnetManager(over, { retry, onEvent: (event) => events.push(event), ...options });
}

/** Puts what another node, or an operator, would. */
export async function put(
  over: Registry,
  key: string,
  publicIp: string,
  ttlMs: number | undefined,
): Promise<RegistryEntry> {
  const entry = await over.create(key, formatLeaseAttributes(node(publicIp)), ttlMs, signal);
  if (entry === "exists") throw new Error(`${key} exists`);
  return entry;
}

export async function keysIn(over: Registry): Promise<string[]> {
  return (await over.entries(signal)).entries.map(({ key }) => key);
}
