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

import { pause } from "../pause.ts";
import { StoreError } from "../store_error.ts";
import { type Event2, isEvent, outcomeOf, positionOf } from "./answer2.ts";
import type { OpenAnswer } from "./http.ts";
import { Inbox } from "./inbox.ts";
import { type Keys2, keyPath, LEADER_PATH } from "./keys2.ts";

const MAX_GAP = 100;
/** How long the first batch waits for what happened since; without it would come the next. */
const FIRST_BATCH_MS = 20;
/** Signs of life without a leader, in a row, until the member is left for another one: an election takes less. */
const LEADERLESS_PROBES = 2;

export interface Watched {
  readonly key: string;
  readonly recursive: boolean;
  readonly cluster: string;
  /** Everything after it is told. */
  readonly index: number;
}

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
    for await (const batch of oneStream(keys, { ...watched, index }, signal)) {
      index = batch.index;
      yield batch;
    }
    // etcd ends a stream that it was quicker than (100 events): go on at once. One that told nothing was not slow.
    if (index === before) throw broken(keys, watched, keys.http.description, "the server ended it");
  }
}

async function* oneStream(
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
    const stream = await openWatch(keys, watched, { stream: "true" }, stop);
    const from = startOf(stream, keys, watched);
    let told = watched.index;
    const held: Event2[] = [];
    let gap = from > told;
    run(
      (async () => {
        for await (const event of eventsOf(stream)) {
          if (gap) held.push(event);
          else inbox.push(event);
        }
        inbox.end();
      })(),
    );
    run(probe(keys, watched, stream, stop));
    const closeGap = async () => {
      for (let at = told; at < from; ) {
        const event = await pollOnce(keys, watched, at + 1, stream, stop);
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

async function openWatch(
  keys: Keys2,
  { key, recursive }: Watched,
  query: Readonly<Record<string, string>>,
  signal: AbortSignal,
  target?: OpenAnswer["target"],
): Promise<OpenAnswer> {
  const path = keyPath(key, { wait: "true", ...(recursive ? { recursive: "true" } : {}), ...query });
  const open = await keys.http.open({ method: "GET", path }, signal, target);
  if (open.status === 200 && positionOf(open).cluster !== "") return open;
  let text = "";
  for await (const piece of open.body) text += piece;
  outcomeOf({ ...open, text }, keys.asked("watch", key));
  throw compacted(keys, key, "the changes since then are forgotten");
}

/** From which index on the stream tells; throws "compacted" when it cannot be joined to what was read. */
function startOf(stream: OpenAnswer, keys: Keys2, { key, cluster, index }: Watched): number {
  const found = positionOf(stream);
  if (found.cluster !== cluster) throw compacted(keys, key, `another cluster answers, ${found.cluster}`);
  if (found.index < index) throw compacted(keys, key, `the store is at index ${found.index} only`);
  if (found.index - index > MAX_GAP) throw compacted(keys, key, `${found.index - index} changes happened since`);
  return found.index;
}

async function* eventsOf(open: OpenAnswer): AsyncGenerator<Event2, void, undefined> {
  let rest = "";
  for await (const piece of open.body) {
    const lines = (rest + piece).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) if (line !== "") yield parseEvent(line, open);
  }
}

function parseEvent(line: string, { target }: OpenAnswer): Event2 {
  const { url } = target.endpoint;
  try {
    const body: unknown = JSON.parse(line);
    if (isEvent(body)) return body;
  } catch {
    // Said below.
  }
  throw new StoreError("unreachable", url, `cannot watch etcd at ${url}: "${line.slice(0, 60)}" is no event of etcd`);
}

/** The first event from `index` on, as soon as there is one. */
async function pollOnce(keys: Keys2, watched: Watched, index: number, stream: OpenAnswer, signal: AbortSignal) {
  using open = await openWatch(keys, watched, { waitIndex: String(index) }, signal, stream.target);
  for await (const event of eventsOf(open)) return event;
  throw broken(keys, watched, stream.target.endpoint.url, "the server ended it");
}

/** Fails when the member the stream is of falls silent, or knows of no leader and so will hear of no change. */
async function probe(keys: Keys2, watched: Watched, stream: OpenAnswer, signal: AbortSignal): Promise<void> {
  const { pingMs, pongMs } = keys.http.timing;
  const { target } = stream;
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

function broken(keys: Keys2, { key }: Watched, url: string, cause: string): StoreError {
  return new StoreError("unreachable", url, `cannot ${keys.asked("watch", key).what} at ${url}: ${cause}`);
}

function compacted(keys: Keys2, key: string, cause: string): StoreError {
  const what = `cannot ${keys.asked("watch", key).what}`;
  return new StoreError("compacted", keys.http.description, `${what}: ${cause}; read it again`);
}
