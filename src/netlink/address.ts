// Addresses of links (linux/if_addr.h); `ip address`. IFA_ADDRESS is the other end's address on point-to-point links
// and the own one elsewhere; IFA_LOCAL is always the own one, and IPv6 leaves it out unless the two differ.
//
// struct ifaddrmsg, 8 bytes:
//   0  u8 ifa_family   1  u8 ifa_prefixlen   2  u8 ifa_flags (the lower 8, see IFA_FLAGS)
//   3  u8 ifa_scope (RT_SCOPE_*)   4  u32 ifa_index

import type { Address } from "../ip/address.ts";
import { ADDRESS_BITS, type Family } from "../ip/family.ts";
import { makePrefix, type Prefix, prefixAddress, prefixFamily, prefixLength } from "../ip/prefix.ts";
import { MalformedMessage } from "./error.ts";
import { AF_UNSPEC, familyFromNumber, familyNumber } from "./family.ts";
import { type MessageReader, NLM_F_DUMP, PUT_FLAGS, type PutMode } from "./message.ts";
import type { MessageWriter } from "./writer.ts";

export const RTM_NEWADDR = 20;
export const RTM_DELADDR = 21;
export const RTM_GETADDR = 22;

const IFADDRMSG_LENGTH = 8;

const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_LABEL = 3;
const IFA_BROADCAST = 4;
const IFA_CACHEINFO = 6;
const IFA_FLAGS = 8;

/** IPv4: another address of the same subnet came first. */
export const IFA_F_SECONDARY = 0x01;
/** IPv6: no duplicate address detection. */
export const IFA_F_NODAD = 0x02;
export const IFA_F_DADFAILED = 0x08;
/** IPv6: not usable yet, duplicate address detection is under way. */
export const IFA_F_TENTATIVE = 0x40;
export const IFA_F_PERMANENT = 0x80;
/** The kernel makes no route to the address's subnet. */
export const IFA_F_NOPREFIXROUTE = 0x200;

/** A lifetime without end. */
export const INFINITY_LIFE_TIME = 0xffffffff;

export interface AddressMessage {
  readonly kind: "address";
  /** ifindex of the link. */
  readonly index: number;
  /** The own address with the length of its subnet: 10.5.1.1/24. */
  readonly address: Prefix;
  /** The other end of a point-to-point link. */
  readonly peer: Address | undefined;
  readonly broadcast: Address | undefined;
  readonly label: string | undefined;
  /** RT_SCOPE_* (route.ts) */
  readonly scope: number;
  /** IFA_F_* */
  readonly flags: number;
  /** INFINITY_LIFE_TIME when permanent. */
  readonly validSeconds: number;
  readonly preferredSeconds: number;
}

export type AddressKey = Pick<AddressMessage, "index" | "address"> & Partial<Pick<AddressMessage, "peer">>;
export type NewAddress = AddressKey & Partial<Omit<AddressMessage, "kind" | "validSeconds" | "preferredSeconds">>;

/** `ip address add|replace ADDRESS [broadcast ADDRESS] dev DEV [scope SCOPE]` */
export function putAddress(writer: MessageWriter, address: NewAddress, mode: PutMode): void {
  const { flags = 0, scope = 0 } = address;
  begin(writer, RTM_NEWADDR, PUT_FLAGS[mode], address);
  writer.setU8(2, flags & 0xff);
  writer.setU8(3, scope);
  writer.address(IFA_LOCAL, prefixAddress(address.address));
  if (address.broadcast) writer.address(IFA_BROADCAST, address.broadcast);
  writer.address(IFA_ADDRESS, address.peer ?? prefixAddress(address.address));
  if (address.label !== undefined) writer.text(IFA_LABEL, address.label);
  if (flags > 0xff) writer.u32(IFA_FLAGS, flags);
  writer.end();
}

/** `ip address delete ADDRESS dev DEV` */
export function deleteAddress(writer: MessageWriter, address: AddressKey): void {
  begin(writer, RTM_DELADDR, 0, address);
  writer.address(IFA_LOCAL, prefixAddress(address.address));
  writer.address(IFA_ADDRESS, address.peer ?? prefixAddress(address.address));
  writer.end();
}

export interface AddressFilter {
  readonly family?: Family;
  readonly index?: number;
}

/** `ip address show [dev DEV]` */
export function dumpAddresses(writer: MessageWriter, filter: AddressFilter = {}): void {
  writer.begin(RTM_GETADDR, NLM_F_DUMP, IFADDRMSG_LENGTH);
  writer.setU8(0, filter.family ? familyNumber(filter.family) : AF_UNSPEC);
  writer.setU32(4, filter.index ?? 0);
  writer.end();
}

/** undefined for addresses of other families. */
export function decodeAddress(message: MessageReader): AddressMessage | undefined {
  const attributes = message.attributes(IFADDRMSG_LENGTH);
  const family = familyFromNumber(message.u8(0));
  if (!family) return undefined;
  let local: Address | undefined;
  let other: Address | undefined;
  let broadcast: Address | undefined;
  let label: string | undefined;
  let flags = message.u8(2);
  let validSeconds = INFINITY_LIFE_TIME;
  let preferredSeconds = INFINITY_LIFE_TIME;
  while (attributes.next()) {
    switch (attributes.type) {
      case IFA_LOCAL:
        local = attributes.address();
        break;
      case IFA_ADDRESS:
        other = attributes.address();
        break;
      case IFA_BROADCAST:
        broadcast = attributes.address();
        break;
      case IFA_LABEL:
        label = attributes.text();
        break;
      case IFA_FLAGS:
        flags = attributes.u32();
        break;
      case IFA_CACHEINFO: // struct ifa_cacheinfo: 0 u32 preferred, 4 u32 valid, 8 and 12 when made and changed
        preferredSeconds = attributes.u32At(0);
        validSeconds = attributes.u32At(4);
        break;
    }
  }
  const own = local ?? other;
  if (!own) return undefined;
  const length = message.u8(1);
  if (length > ADDRESS_BITS[family]) throw new MalformedMessage(`address with a prefix of ${length} bits`);
  return {
    kind: "address",
    index: message.i32(4),
    address: makePrefix(own, length),
    peer: other !== own ? other : undefined,
    broadcast,
    label,
    scope: message.u8(3),
    flags,
    validSeconds,
    preferredSeconds,
  };
}

function begin(writer: MessageWriter, type: number, messageFlags: number, { index, address }: AddressKey): void {
  writer.begin(type, messageFlags, IFADDRMSG_LENGTH);
  writer.setU8(0, familyNumber(prefixFamily(address)));
  writer.setU8(1, prefixLength(address));
  writer.setU32(4, index);
}
