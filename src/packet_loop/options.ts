// What the thread of the packet loop is told, and what it tells. A message is followed by one ring of its bell (worker.ts).

import type { DeviceTakes } from "../dataplane/coalescer.ts";
import type { PacketMemory } from "../dataplane/memory.ts";
import type { LoopRoute } from "./peer_table.ts";

/** Where each number is in the memory that both threads have. */
export const Shared = {
  /** How often the bell was rung, written by whoever rings. */
  rings: 0,
  /** The loop's turns, of which there is one each `longestSleepMs` at least. */
  turns: 1,
} as const;

export function newShared(): Int32Array<SharedArrayBuffer> {
  return new Int32Array(new SharedArrayBuffer(8));
}

export interface LoopOptions {
  /** Open files: the TUN device, the UDP socket, and an eventfd that ends a wait. */
  readonly tun: number;
  readonly udp: number;
  readonly bell: number;
  /** A raw socket that ICMP errors are sent by: written to the device, they would be dropped as martians, their source being the host's own. -1 for none. */
  readonly icmp: number;
  /** Source of ICMP errors, as an unsigned number. */
  readonly ownAddress: number;
  /** Inner destinations outside are dropped. */
  readonly network: { readonly first: number; readonly length: number };
  /** Bytes of the largest inner packet. */
  readonly mtu: number;
  readonly strict: boolean;
  /** Milliseconds after which the loop shows that it lives, though there is nothing to do. */
  readonly longestSleepMs: number;
  /** What kernel and device can do (sys/tun.ts, sys/datagram.ts). */
  readonly takes: DeviceTakes;
  readonly sendsSegments: boolean;
  readonly sendsMany: boolean;
  readonly receivesMany: boolean;
  /** Only for comparisons. */
  readonly checksums?: PacketMemory["kind"];
}

export interface PeerChanges {
  readonly set: readonly LoopRoute[];
  readonly deleted: readonly Pick<LoopRoute, "subnet" | "length">[];
}

export type ToLoop =
  | {
      readonly kind: "start";
      readonly options: LoopOptions;
      readonly peers: readonly LoopRoute[];
      readonly counters: Float64Array<SharedArrayBuffer>;
      readonly shared: Int32Array<SharedArrayBuffer>;
    }
  | { readonly kind: "peers"; readonly changes: PeerChanges }
  | { readonly kind: "stop" };

export type FromLoop =
  /** `thread`: its number, by sys/thread.ts. */
  | { readonly kind: "started"; readonly checksums: PacketMemory["kind"]; readonly thread: number }
  /** `reason` undefined: it was told to. */
  | { readonly kind: "ended"; readonly reason: string | undefined };
