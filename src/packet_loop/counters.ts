// What the packet loop counts, in memory that it shares with the thread that reports: each number is written by the loop alone, and 64 bits wide, so that no
// reader sees half of one.

import { VERDICT_NAMES, Verdict } from "../dataplane/verdict.ts";

/** Where each counter is. Packets are inner packets. */
export const Counter = {
  sentPackets: 0,
  sentBytes: 1,
  /** Messages given to the kernel, each of one or many packets. */
  sentMessages: 2,
  receivedPackets: 3,
  receivedBytes: 4,
  /** Writes to the device, each of one or many packets. */
  writes: 5,
  /** Packets that were to be sent as one message and were sent one by one, since the kernel refused (a path with a smaller MTU). */
  sentSingly: 6,
  icmpErrors: 7,
  // Dropped:
  /** No peer has the destination. */
  noPeer: 8,
  sendFailed: 9,
  /** The device took no packet (it is down). */
  deviceRefused: 10,
  /** The inner destination lies outside the network. */
  foreignDestination: 11,
  /** Strict: the inner source is not in a subnet of the sender's. */
  foreignSource: 12,
  /** Strict: the sender is no peer. */
  unknownSender: 13,
  /** From here one for each Verdict: packets from the device, and from peers. */
  fromDevice: 16,
  fromPeers: 32,
} as const;

const COUNTERS = 48;

export function newCounters(): Float64Array<SharedArrayBuffer> {
  return new Float64Array(new SharedArrayBuffer(COUNTERS * 8));
}

export function count(counters: Float64Array, index: number, by: number): void {
  counters[index] = (counters[index] ?? 0) + by;
}

export interface CounterValue {
  readonly name: string;
  readonly value: number;
}

const TRAFFIC = [
  ["sent packets", Counter.sentPackets],
  ["sent bytes", Counter.sentBytes],
  ["sent messages", Counter.sentMessages],
  ["received packets", Counter.receivedPackets],
  ["received bytes", Counter.receivedBytes],
  ["writes to the device", Counter.writes],
  ["sent one by one", Counter.sentSingly],
  ["ICMP errors", Counter.icmpErrors],
] as const;

const DROPS = [
  ["no peer has the destination", Counter.noPeer],
  ["send failed", Counter.sendFailed],
  ["device refused", Counter.deviceRefused],
  ["destination outside the network", Counter.foreignDestination],
  ["source outside the sender's subnet", Counter.foreignSource],
  ["unknown sender", Counter.unknownSender],
] as const;

const VERDICT_TEXTS: Readonly<Record<string, string>> = {
  short: "too short",
  version: "not IPv4",
  headerLength: "wrong header length",
  totalLength: "wrong total length",
  headerChecksum: "wrong header checksum",
  expired: "TTL used up",
  offload: "wrong offload",
  tooLarge: "larger than the MTU",
};

/** All traffic counters, and of the packets dropped those reasons that there were. */
export function counterValues(counters: Float64Array): { traffic: CounterValue[]; dropped: CounterValue[] } {
  const value = (name: string, index: number) => ({ name, value: counters[index] ?? 0 });
  const traffic = TRAFFIC.map(([name, index]) => value(name, index));
  const dropped = DROPS.map(([name, index]) => value(name, index));
  for (const [verdict, name] of VERDICT_NAMES.entries()) {
    if (verdict === Verdict.good || verdict === Verdict.full) continue;
    const text = VERDICT_TEXTS[name] ?? name;
    dropped.push(value(`from the device: ${text}`, Counter.fromDevice + verdict));
    dropped.push(value(`from peers: ${text}`, Counter.fromPeers + verdict));
  }
  return { traffic, dropped: dropped.filter((each) => each.value > 0) };
}

/** One line for people. */
export function counterText(counters: Float64Array): string {
  const { traffic, dropped } = counterValues(counters);
  const text = (values: readonly CounterValue[]) => values.map(({ name, value }) => `${name} ${value}`).join(", ");
  return `${text(traffic)}; dropped: ${dropped.length === 0 ? "none" : text(dropped)}`;
}
