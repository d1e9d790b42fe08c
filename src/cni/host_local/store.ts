// The addresses given so far, as files: the reference plugin's form, so that both may work on one node at the same time.
//
//   <dataDir>/<network>/10.5.1.7            holds "<containerID>\r\n<interface>": taken
//   <dataDir>/<network>/last_reserved_ip.0  the address given last, of range set 0
//   <dataDir>/<network>/lock                flock(2) on it orders everybody
//
// Since whoever writes holds the lock, an empty file of an address is what a process that was killed left behind, and nobody's. A file of ours is filled
// under another name and linked to its own, so that it is never seen empty.

import { type Address, parseAddress } from "../../ip/address.ts";
import {
  makeDirectories,
  namesIn,
  overwriteText,
  readTextIfAny,
  removeIfAny,
  unlessMissing,
  writeText,
} from "../../sys/file.ts";
import { close, flock, LOCK_EX, link, O_CREAT, O_RDONLY, open, unlink } from "../../sys/libc.ts";
import type { Attachment } from "../plugin.ts";

const NEW_FILE = ".reserving";

export interface Reservation {
  readonly address: Address;
  /** What the file holds; "" is nobody's. */
  readonly holder: string;
}

export function directoryOf(dataDir: string, network: string): string {
  return `${dataDir}/${network}`;
}

/** The addresses of a network and their holders, without the lock: a picture to look at. None when the directory is not there. */
export function readReservations(directory: string): Reservation[] {
  const reservations: Reservation[] = [];
  for (const name of unlessMissing(() => namesIn(directory)) ?? []) {
    const address = parseAddress(name);
    // Gone between the two calls, when the lock is not held: no reservation.
    const holder = address && readTextIfAny(`${directory}/${name}`)?.trim();
    if (address && holder !== undefined) reservations.push({ address, holder });
  }
  return reservations;
}

/** Holds the lock as long as it is not disposed of; waits for it. */
export class Store implements Disposable {
  readonly #directory: string;
  readonly #lock: number;
  readonly #holders: Map<Address, string>;

  private constructor(directory: string, lock: number) {
    this.#directory = directory;
    this.#lock = lock;
    flock(lock, LOCK_EX, `${directory}/lock`);
    this.#holders = new Map();
    for (const { address, holder } of readReservations(directory)) this.#holders.set(address, holder);
  }

  static open(directory: string): Store {
    const path = `${directory}/lock`;
    const flags = O_RDONLY | O_CREAT;
    let lock = unlessMissing(() => open(path, flags, 0o750));
    if (lock === undefined) {
      makeDirectories(directory, 0o755);
      lock = open(path, flags, 0o750);
    }
    try {
      return new Store(directory, lock);
    } catch (error) {
      close(lock);
      throw error;
    }
  }

  /** undefined when there is no directory, and so nothing that anybody holds. */
  static openExisting(directory: string): Store | undefined {
    const lock = unlessMissing(() => open(`${directory}/lock`, O_RDONLY));
    if (lock !== undefined) return new Store(directory, lock);
    return unlessMissing(() => namesIn(directory))?.length ? Store.open(directory) : undefined;
  }

  isTaken(address: Address): boolean {
    return (this.#holders.get(address) ?? "") !== "";
  }

  /** Addresses that the attachment holds; older versions of the reference plugin wrote the container alone. */
  heldBy({ containerId, ifname }: Attachment): Address[] {
    const current = this.#addressesOf(holderText(containerId, ifname));
    return current.length > 0 ? current : this.#addressesOf(containerId);
  }

  reservations(): Reservation[] {
    const reservations: Reservation[] = [];
    for (const [address, holder] of this.#holders) reservations.push({ address, holder });
    return reservations;
  }

  lastReserved(setIndex: number): Address | undefined {
    return parseAddress(readTextIfAny(this.#lastFile(setIndex))?.trim() ?? "");
  }

  /** Gives `address`, which must be free. */
  reserve(address: Address, { containerId, ifname }: Attachment, setIndex: number): void {
    const path = `${this.#directory}/${address}`;
    const temporary = `${this.#directory}/${NEW_FILE}`;
    const holder = holderText(containerId, ifname);
    if (this.#holders.has(address)) unlink(path); // empty, by isTaken
    writeText(temporary, holder);
    link(temporary, path);
    this.#holders.set(address, holder);
    unlink(temporary);
    overwriteText(this.#lastFile(setIndex), address);
  }

  release(address: Address): void {
    removeIfAny(`${this.#directory}/${address}`);
    this.#holders.delete(address);
  }

  /** Removes what processes that were killed left behind. */
  tidy(): void {
    for (const { address, holder } of this.reservations()) if (holder === "") this.release(address);
    removeIfAny(`${this.#directory}/${NEW_FILE}`);
  }

  [Symbol.dispose](): void {
    close(this.#lock);
  }

  #addressesOf(holder: string): Address[] {
    const addresses: Address[] = [];
    for (const [address, other] of this.#holders) if (other === holder) addresses.push(address);
    return addresses;
  }

  #lastFile(setIndex: number): string {
    return `${this.#directory}/last_reserved_ip.${setIndex}`;
  }
}

export function holderText(containerId: string, ifname: string): string {
  return `${containerId}\r\n${ifname}`;
}
