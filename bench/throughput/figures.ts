// From what the load's programs and the kernel say to figures.

import type { Received, Sent } from "./load_result.ts";
import type { Values } from "./measurements.ts";

/** USER_HZ, 100 on every Linux that the runtime supports. */
const TICKS_PER_SECOND = 100;

export interface TcpReceived {
  readonly bitsPerSecond: number;
  readonly bytes: number;
}

/** The receiver's side of `iperf3 --client --json`, warnings around it left out: what the sender has got rid of may still be in a buffer. */
export function receivedByIperf3(output: string): TcpReceived {
  const { error, end } = JSON.parse(output.slice(output.indexOf("{"), output.lastIndexOf("}") + 1) || "{}") as {
    error?: string;
    end?: { sum_received?: { bytes: number; bits_per_second: number } };
  };
  const received = end?.sum_received;
  if (error !== undefined || !received?.bytes)
    throw new Error(`iperf3 received nothing: ${error ?? output.slice(0, 500)}`);
  return { bitsPerSecond: received.bits_per_second, bytes: received.bytes };
}

interface Times {
  readonly idle: number;
  readonly total: number;
}

/** What all cores were busy with, load programs and kernel included, for 10⁹ bytes. */
export function cpuPerGigabyte(before: Times, after: Times, bytes: number): number {
  const busy = after.total - before.total - (after.idle - before.idle);
  return busy / TICKS_PER_SECOND / (bytes / 1e9);
}

export function udpValues({ packets: sent }: Sent, { packets, seconds }: Received): Values {
  if (packets < 2 || seconds <= 0) throw new Error(`of ${sent} datagrams ${packets} arrived`);
  return { rate: packets / seconds / 1e3, lost: (1 - packets / sent) * 100 };
}
