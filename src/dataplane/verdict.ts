// What became of a packet, as a small number that indexes an array of counters. Everything but `good` means that the packet is dropped.

export const Verdict = {
  good: 0,
  /** Fewer bytes than an IPv4 header (with what stands before it). */
  short: 1,
  /** Not IPv4. */
  version: 2,
  /** A header length below 20, or beyond the packet (RFC 1812 5.2.2). */
  headerLength: 3,
  /** A total length below the header's, or beyond what was received. */
  totalLength: 4,
  headerChecksum: 5,
  /** The TTL would become 0. */
  expired: 6,
  /** The kernel left work to us that we did not ask for, or that contradicts the packet. */
  offload: 7,
  /** A packet, or a segment, that no datagram to the peer can hold. */
  tooLarge: 8,
  /** Not dropped: the batch is full, and the packet is for the next one. */
  full: 9,
} as const;

export type Verdict = (typeof Verdict)[keyof typeof Verdict];

/** In the order of the numbers, as counters are named. */
export const VERDICT_NAMES: readonly string[] = Object.keys(Verdict);
