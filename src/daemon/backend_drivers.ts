// The drivers of what single backends make beside links and routes. Each is loaded only where the backend, or the one of the run before, needs it.

import type { PerFamily } from "../ip/family.ts";
import type { Prefix } from "../ip/prefix.ts";
import type { Driver } from "../kernel/driver.ts";
import type { BackendObject } from "../state/backend_object.ts";
import type { Log } from "./log.ts";

export interface DriverContext {
  /** Networks whose objects are this flanneld's. */
  readonly networks: PerFamily<Prefix>;
  /** Directory of subnet.env, for what a driver must remember. */
  readonly directory: string;
  readonly log: Log;
}

type OpenDriver = (context: DriverContext) => Promise<Driver>;

const openIke: OpenDriver = async () => new (await import("../kernel/ike.ts")).IkeDriver();

/** A driver of several kinds stands at each of them, as the same function. */
const OPENERS: Partial<Record<BackendObject["kind"], OpenDriver>> = {
  xfrmpolicy: async ({ networks }) => new (await import("../kernel/xfrm.ts")).XfrmDriver({ networks }),
  ikedaemon: openIke,
  ike: openIke,
};

export async function openBackendDrivers(
  kinds: Iterable<BackendObject["kind"]>,
  context: DriverContext,
): Promise<Driver[]> {
  const openers = new Set<OpenDriver>();
  for (const kind of kinds) {
    const open = OPENERS[kind];
    if (open) openers.add(open);
  }
  const drivers: Driver[] = [];
  try {
    for (const open of openers) drivers.push(await open(context));
  } catch (error) {
    for (const driver of drivers) driver[Symbol.dispose]();
    throw error;
  }
  return drivers;
}
