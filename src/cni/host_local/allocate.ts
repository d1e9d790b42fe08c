// Which address comes next: the one after the last that was given, round and round, so that an address rests as long as possible before another container
// has it. The order is the reference plugin's, address by address.

import { type Address, addressFromNumber, addressNumber } from "../../ip/address.ts";
import { type AddressRange, type RangeSet, rangeOf } from "./range.ts";

export interface Free {
  readonly address: Address;
  readonly range: AddressRange;
}

/** The first free address after `last`; undefined when there is none. A `last` outside of the set is as none. */
export function nextFree(
  set: RangeSet,
  last: Address | undefined,
  isTaken: (address: Address) => boolean,
): Free | undefined {
  const begin = last && rangeOf(set, last);
  let index = begin ? set.indexOf(begin) : 0;
  let current = begin && last ? addressNumber(last) : undefined;
  let first: bigint | undefined;
  for (;;) {
    let range = set[index];
    if (!range) return undefined;
    if (current === undefined) current = range.first;
    else if (current === range.last) {
      index = (index + 1) % set.length;
      range = set[index];
      if (!range) return undefined;
      current = range.first;
    } else current += 1n;
    // Ranges of a set do not overlap: the same number is the same place.
    if (current === first) return undefined;
    first ??= current;
    const address = addressFromNumber(current, range.family);
    if (address !== range.gateway && !isTaken(address)) return { address, range };
  }
}
