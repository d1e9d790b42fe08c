// What host-local (and our built-in one) keeps on disk: below its data directory a directory for each network, in it a file for each address, named after it,
// that holds the container's id and, after CR LF, the interface; beside them last_reserved_ip.N and lock. Files of versions before 0.8 hold no interface.

import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { type Address, addressNumber, familyOf, parseAddress } from "../../ip/address.ts";

export interface Reservation {
  readonly network: string;
  readonly address: Address;
  /** undefined where the file does not say it in host-local's form. */
  readonly containerId: string | undefined;
  /** "" where the file has none. */
  readonly ifname: string;
  /** When the address was given out, in milliseconds since the epoch. */
  readonly since: number;
  readonly path: string;
  /** All of the file: who frees it compares it with what is there then. */
  readonly text: string;
}

const CONTAINER_ID = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;

/** Of all networks, or of the one named; none where there is no such directory. In order of network and address. */
export function readReservations(dataDir: string, network?: string): Reservation[] {
  const names = network === undefined ? directoriesIn(dataDir) : [network];
  return names.flatMap((name) =>
    namesIn(join(dataDir, name))
      .flatMap((file) => readReservation(dataDir, name, file) ?? [])
      .toSorted(inOrder),
  );
}

/** undefined when it is gone, or the name is no address. */
export function readReservation(dataDir: string, network: string, file: string): Reservation | undefined {
  const address = parseAddress(file);
  if (!address) return undefined;
  const path = join(dataDir, network, file);
  try {
    const since = statSync(path).mtimeMs;
    const text = readFileSync(path, "utf8");
    const [id = "", ifname = ""] = text.trim().split(/\r?\n/);
    return { network, address, containerId: CONTAINER_ID.test(id) ? id : undefined, ifname, since, path, text };
  } catch (error) {
    if (isCode(error, "ENOENT")) return undefined;
    throw error;
  }
}

function directoriesIn(directory: string): string[] {
  return namesIn(directory).filter((name) => statSync(join(directory, name), { throwIfNoEntry: false })?.isDirectory());
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory).toSorted();
  } catch (error) {
    if (isCode(error, "ENOENT")) return [];
    throw error;
  }
}

function inOrder({ address: a }: Reservation, { address: b }: Reservation): number {
  if (familyOf(a) !== familyOf(b)) return familyOf(a) === "ipv4" ? -1 : 1;
  return addressNumber(a) < addressNumber(b) ? -1 : 1;
}

export function isCode(error: unknown, ...codes: readonly string[]): boolean {
  return error instanceof Error && codes.includes((error as NodeJS.ErrnoException).code ?? "");
}
