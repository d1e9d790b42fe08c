// The drivers of what single backends make beside links and routes. Each is loaded only where the backend, or the one of the run before, needs it.

import { join } from "node:path";
import type { PerFamily } from "../ip/family.ts";
import type { Prefix } from "../ip/prefix.ts";
import type { Driver } from "../kernel/driver.ts";
import type { BackendObject, IkeDaemon } from "../state/backend_object.ts";
import { writeFileAtomically } from "./atomic_file.ts";
import { readIfThere } from "./identity.ts";
import type { Log } from "./log.ts";

export interface DriverContext {
  /** Networks whose objects are this flanneld's. */
  readonly networks: PerFamily<Prefix>;
  /** Names of the links that are this flanneld's, existing or not. */
  readonly links: ReadonlySet<string>;
  /** Path of the file that holds the backend's secret; undefined for backends without. */
  readonly secretPath: string | undefined;
  /** Directory of subnet.env, for what a driver must remember. */
  readonly directory: string;
  /** Of a plan: the IKE daemon that it wants, so that its driver looks at what stands in one that runs. */
  readonly lookAtIke?: IkeDaemon | undefined;
  readonly log: Log;
  /** What is wrong is mended by nothing but another process. */
  readonly onFatal: (error: Error) => void;
}

type OpenDriver = (context: DriverContext) => Promise<Driver>;

const openWireguard: OpenDriver = async ({ links, secretPath }) =>
  (await import("../kernel/wireguard_access.ts")).openWireguard(links, secretPath);

const openIke: OpenDriver = async ({ lookAtIke }) =>
  new (await import("../kernel/ike.ts")).IkeDriver({ look: lookAtIke });

/** A driver of several kinds stands at each of them, as the same function. */
const OPENERS: Partial<Record<BackendObject["kind"], OpenDriver>> = {
  command: openCommands,
  packetloop: openPacketLoop,
  looppeer: openPacketLoop,
  wgdevice: openWireguard,
  wgpeer: openWireguard,
  wgallowed: openWireguard,
  xfrmpolicy: async ({ networks }) => new (await import("../kernel/xfrm.ts")).XfrmDriver({ networks }),
  ikedaemon: openIke,
  ike: openIke,
};

/** Kinds whose drivers only look as long as they are told to do nothing, so that a plan can open them too. */
const LOOKING: ReadonlySet<BackendObject["kind"]> = new Set([
  "command",
  "wgdevice",
  "wgpeer",
  "wgallowed",
  "xfrmpolicy",
  "ikedaemon",
  "ike",
]);

export function canLook(kind: BackendObject["kind"]): boolean {
  return LOOKING.has(kind);
}

/** Of root's alone: commands and what they are given may hold secrets. */
const RECORDS_MODE = 0o600;

async function openCommands({ directory, log }: DriverContext): Promise<Driver> {
  const [{ CommandDriver }, { readEra }] = await Promise.all([
    import("../kernel/commands.ts"),
    import("../kernel/era.ts"),
  ]);
  const path = join(directory, "commands.json");
  return new CommandDriver({
    file: { read: () => readIfThere(path), write: (text) => writeFileAtomically(path, text, RECORDS_MODE) },
    era: readEra(),
    onGivenUp: (error) => log.error(`${error.message}; giving it up: what it should undo may still be there`),
  });
}

async function openPacketLoop({ log, onFatal }: DriverContext): Promise<Driver> {
  const { PacketLoopDriver } = await import("../kernel/packet_loop.ts");
  return new PacketLoopDriver({
    onStart: (text) => log.info(text),
    onDeath: (text) => log.warn(text),
    onHang: (text) => log.error(text),
    onStuck: (text) => onFatal(new Error(text)),
  });
}

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
