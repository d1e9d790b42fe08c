// Watching a key of etcd's v2 API, or all keys below one, over one answer that stays open (stream=true): a burst comes as
// fast as it is written, where upstream's long poll takes a round trip for each event.
//
// A stream tells only what comes after it stands. (Given a waitIndex that lies back it tells one event and then nothing, ever.)
// Its head says from which index S on it tells. What happened between `since` and S is asked for with polls (waitIndex), one
// event each, of the same member: a poll waits if nothing is left, and the first event after S, which comes on both ways, says
// so. Until then, what the stream tells is held back, so the order is kept without any clock.
//
// The revision told does not move on while nothing comes, though other keys raise the store's index: an event may be on its way
// on this connection when an answer on another one tells a higher index. A gap wider than MAX_GAP is not asked for event by
// event, nor could be beyond the 1,000 that etcd keeps: "compacted", the whole is read again, in one request.

import { Inbox } from "../inbox.ts";
import { pause } from "../pause.ts";
import { StoreError } from "../store_error.ts";
import { type Event2, positionOf } from "./answer2.ts";
import type { Target } from "./endpoints.ts";
import { type OpenAnswer, SilenceError } from "./http.ts";
import { type Keys2, LEADER_PATH } from "./keys2.ts";
import { broken, compacted, eventsOf, openWatch, pollAll, pollOnce, type Watched } from "./poll2.ts";

const MAX_GAP = 100;
/** How long the first batch waits for what happened since; without it would come the next. */
const FIRST_BATCH_MS = 20;
/** Signs of life without a leader, in a row, until the member is left for another one: an election takes less. */
const LEADERLESS_PROBES = 2;

export interface Events2 {
  readonly events: readonly Event2[];
  /** Where to go on from. */
  readonly index: number;
}

/** First comes a batch as soon as the watch stands, maybe an empty one. Fails as Registry.watch does. */
export async function* watchKeys(
  keys: Keys2,
  watched: Watched,
  signal: AbortSignal,
): AsyncGenerator<Events2, void, undefined> {
  let { index } = watched;
  for (;;) {
    const before = index;
    for await (const batch of oneSession(keys, { ...watched, index }, signal)) {
      index = batch.index;
      yield batch;
    }
    // etcd ends a stream that it was quicker than (100 events): go on at once. One that told nothing was not slow.
    if (index === before) throw broken(keys, watched, keys.http.description, "the server ended it");
  }
}

async function* oneSession(
  keys: Keys2,
  watched: Watched,
  signal: AbortSignal,
): AsyncGenerator<Events2, void, undefined> {
  const stopping = new AbortController();
  const stop = AbortSignal.any([signal, stopping.signal]);
  const tasks: Promise<void>[] = [];
  const inbox = new Inbox<Event2>();
  const run = (task: Promise<void>) => {
    tasks.push(task.catch((error: unknown) => inbox.fail(error)));
  };
  try {
    const { target } = await keys.http.ask({ method: "GET", path: LEADER_PATH }, stop);
    const stream = await openStream(keys, watched, target, stop);
    let told = watched.index;
    run(probe(keys, watched, target, stop));
    if (!stream) run(pollAll(keys, watched, target, inbox, stop));
    const from = stream ? startOf(stream, keys, watched) : told;
    const held: Event2[] = [];
    let gap = from > told;
    const readStream = async (open: OpenAnswer) => {
      for await (const event of eventsOf(open)) {
        if (gap) held.push(event);
        else inbox.push(event);
      }
      inbox.end();
    };
    if (stream) run(readStream(stream));
    const closeGap = async () => {
      for (let at = told; at < from; ) {
        const event = await pollOnce(keys, watched, at + 1, target, stop);
        at = event.node.modifiedIndex;
        if (at <= from) inbox.push(event);
      }
      gap = false;
      inbox.push(...held.splice(0));
    };
    const closing = gap ? closeGap() : Promise.resolve();
    run(closing);
    if (gap) await Promise.race([closing.catch(() => {}), inbox.filled(), pause(FIRST_BATCH_MS, stop)]);
    for (let first = true; ; first = false) {
      if (!first) await inbox.filled();
      const events = inbox.take();
      if (events === "ended") return;
      told = Math.max(told, gap ? 0 : from, ...events.map(({ node }) => node.modifiedIndex));
      yield { events, index: told };
    }
  } finally {
    stopping.abort(new Error("the watch is over"));
    await Promise.all(tasks);
  }
}

/** undefined where streams do not come through, which is remembered. */
async function openStream(
  keys: Keys2,
  watched: Watched,
  target: Target,
  signal: AbortSignal,
): Promise<OpenAnswer | undefined> {
  const { requestMs } = keys.http.timing;
  if (keys.streamsAreHeldBack) return undefined;
  try {
    return await openWatch(keys, watched, { stream: "true" }, target, requestMs, signal);
  } catch (error) {
    if (!(error instanceof SilenceError)) throw error;
    // Silent to this and not to another request.
    await keys.http.ask({ method: "GET", path: LEADER_PATH }, signal, target);
    keys.streamsAreHeldBack = true;
    return undefined;
  }
}

/** From which index on the stream tells; throws "compacted" when it cannot be joined to what was read. */
function startOf(stream: OpenAnswer, keys: Keys2, { key, cluster, index }: Watched): number {
  const found = positionOf(stream);
  if (found.cluster !== cluster) throw compacted(keys, key, `another cluster answers, ${found.cluster}`);
  if (found.index < index) throw compacted(keys, key, `the store is at index ${found.index} only`);
  if (found.index - index > MAX_GAP) throw compacted(keys, key, `${found.index - index} changes happened since`);
  return found.index;
}

/** Fails when the member that is watched falls silent, or knows of no leader and so will hear of no change. */
async function probe(keys: Keys2, watched: Watched, target: Target, signal: AbortSignal): Promise<void> {
  const { pingMs, pongMs } = keys.http.timing;
  let leaderless = 0;
  while (!signal.aborted) {
    await pause(pingMs, signal);
    const limit = AbortSignal.timeout(pongMs);
    let cause: string | undefined;
    try {
      const answer = await keys.http.ask(
        { method: "GET", path: LEADER_PATH },
        AbortSignal.any([signal, limit]),
        target,
      );
      leaderless = answer.status === 503 ? leaderless + 1 : 0;
      if (leaderless >= LEADERLESS_PROBES) cause = "it knows of no leader, so it will hear of no change";
    } catch (error) {
      signal.throwIfAborted();
      if (!limit.aborted && !(error instanceof StoreError)) throw error;
      cause = limit.aborted ? `no sign of life within ${pongMs / 1000} s` : (error as StoreError).message;
    }
    if (cause === undefined) continue;
    keys.http.avoid(target);
    throw broken(keys, watched, target.endpoint.url, cause);
  }
}
