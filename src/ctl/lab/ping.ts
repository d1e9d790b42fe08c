// Reachability as an operator would test it: the real ping(8), run inside a pod's network namespace.

import type { Address } from "../../ip/address.ts";
import type { Family, PerFamily } from "../../ip/family.ts";
import { FAMILIES } from "../../ip/family.ts";
import { namespacePath } from "./layout.ts";
import { run } from "./run.ts";

export interface Endpoint {
  readonly name: string;
  readonly namespace: string;
  readonly address: PerFamily<Address>;
}

export interface PingResult {
  readonly sent: number;
  readonly received: number;
  /** Average round trip in milliseconds; undefined when nothing came back. */
  readonly rttMs: number | undefined;
}

export interface PairResult extends PingResult {
  readonly from: string;
  readonly to: string;
  readonly family: Family;
}

/** Between two packets of one ping: short, because a lab's round trip is a tenth of a millisecond. */
const INTERVAL_SECONDS = 0.02;
/** How long the last packet may take. */
const WAIT_SECONDS = 1;
/** Pings at one time: enough to hide the wait for lost packets, few enough that they do not measure each other. */
const PARALLEL = 8;

/** The summary that ping(8) of iputils ends with. Undefined when `output` has none: ping itself failed. */
export function parsePingSummary(output: string): PingResult | undefined {
  const counts = /(\d+) packets transmitted, (\d+) received/.exec(output);
  if (!counts) return undefined;
  const times = /rtt min\/avg\/max\/mdev = [\d.]+\/([\d.]+)\//.exec(output);
  return {
    sent: Number(counts[1]),
    received: Number(counts[2]),
    rttMs: times ? Number(times[1]) : undefined,
  };
}

export function isComplete(result: PingResult): boolean {
  return result.sent > 0 && result.received === result.sent;
}

async function ping(from: Endpoint, to: Address, count: number, signal: AbortSignal): Promise<PingResult> {
  const options = ["-n", "-q", "-c", `${count}`, "-i", `${INTERVAL_SECONDS}`, "-W", `${WAIT_SECONDS}`];
  const command = ["nsenter", `--net=${namespacePath(from.namespace)}`, "ping", ...options, to];
  const { stdout } = await run(command, { signal });
  // "Network is unreachable" ends ping before its summary: that too is a pair that does not reach.
  return parsePingSummary(stdout) ?? { sent: count, received: 0, rttMs: undefined };
}

/** Every endpoint to every other, in each family both have; `onResult` is called as the answers come. */
export async function pingAllPairs(
  endpoints: readonly Endpoint[],
  count: number,
  signal: AbortSignal,
  onResult: (done: number, total: number) => void = () => {},
): Promise<PairResult[]> {
  const pairs = FAMILIES.flatMap((family) =>
    endpoints.flatMap((from) =>
      endpoints.flatMap((to) => {
        const address = to.address[family];
        return from === to || !address || !from.address[family] ? [] : [{ from, to, family, address }];
      }),
    ),
  );
  const results: PairResult[] = new Array(pairs.length);
  let next = 0;
  let done = 0;
  const worker = async () => {
    while (next < pairs.length) {
      const index = next++;
      const pair = pairs[index];
      if (!pair) return;
      const result = await ping(pair.from, pair.address, count, signal);
      results[index] = { from: pair.from.name, to: pair.to.name, family: pair.family, ...result };
      onResult(++done, pairs.length);
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, worker));
  return results;
}
