// Requests of etcd's v2 API that wait for a change: one event each (a poll, with the index to begin at), or an answer that stays
// open and tells one after another (a stream).

import type { Inbox } from "../inbox.ts";
import { StoreError } from "../store_error.ts";
import { type Event2, isEvent, outcomeOf, positionOf } from "./answer2.ts";
import type { Target } from "./endpoints.ts";
import type { OpenAnswer } from "./http.ts";
import { type Keys2, keyPath } from "./keys2.ts";

export interface Watched {
  readonly key: string;
  readonly recursive: boolean;
  readonly cluster: string;
  /** Everything after it is told. */
  readonly index: number;
}

/** `headMs`: how long the answer's head may take. */
export async function openWatch(
  keys: Keys2,
  { key, recursive }: Watched,
  query: Readonly<Record<string, string>>,
  target: Target,
  headMs: number,
  signal: AbortSignal,
): Promise<OpenAnswer> {
  const path = keyPath(key, { wait: "true", ...(recursive ? { recursive: "true" } : {}), ...query });
  const open = await keys.http.open({ method: "GET", path }, signal, target, headMs);
  if (open.status === 200 && positionOf(open).cluster !== "") return open;
  let text = "";
  for await (const piece of open.body) text += piece;
  outcomeOf({ ...open, text }, keys.asked("watch", key));
  throw compacted(keys, key, "the changes since then are forgotten");
}

export async function* eventsOf(open: OpenAnswer): AsyncGenerator<Event2, void, undefined> {
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

/** The first event from `index` on, when there is one. */
export async function pollOnce(
  keys: Keys2,
  watched: Watched,
  index: number,
  target: Target,
  signal: AbortSignal,
): Promise<Event2> {
  using open = await openWatch(keys, watched, { waitIndex: String(index) }, target, Number.POSITIVE_INFINITY, signal);
  const { cluster } = positionOf(open);
  if (cluster !== watched.cluster) throw compacted(keys, watched.key, `another cluster answers, ${cluster}`);
  for await (const event of eventsOf(open)) return event;
  throw broken(keys, watched, target.endpoint.url, "the server ended it");
}

/** Polls for one event after another, for ever. */
export async function pollAll(
  keys: Keys2,
  watched: Watched,
  target: Target,
  inbox: Inbox<Event2>,
  signal: AbortSignal,
): Promise<void> {
  for (let at = watched.index; ; ) {
    const event = await pollOnce(keys, watched, at + 1, target, signal);
    at = event.node.modifiedIndex;
    inbox.push(event);
  }
}

export function broken(keys: Keys2, { key }: Watched, url: string, cause: string): StoreError {
  return new StoreError("unreachable", url, `cannot ${keys.asked("watch", key).what} at ${url}: ${cause}`);
}

export function compacted(keys: Keys2, key: string, cause: string): StoreError {
  const what = `cannot ${keys.asked("watch", key).what}`;
  return new StoreError("compacted", keys.http.description, `${what}: ${cause}; read it again`);
}
