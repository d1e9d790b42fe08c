// An address as the reference plugins put it: IPv4 with the broadcast address of its subnet.

import { addressFromNumber, addressNumber } from "../../ip/address.ts";
import { type Prefix, prefixAddress, prefixFamily, prefixLength } from "../../ip/prefix.ts";
import type { NewAddress } from "../../netlink/address.ts";

export function newAddress(index: number, address: Prefix): NewAddress {
  const length = prefixLength(address);
  // A subnet of two addresses has no room for broadcast (RFC 3021).
  if (prefixFamily(address) === "ipv6" || length > 30) return { index, address };
  const hostBits = (1n << BigInt(32 - length)) - 1n;
  return { index, address, broadcast: addressFromNumber(addressNumber(prefixAddress(address)) | hostBits, "ipv4") };
}
