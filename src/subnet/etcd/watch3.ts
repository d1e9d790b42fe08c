// A watch of etcd v3, as batches: one gRPC stream for each watch, on the connection that all share. The position after a batch
// is that of its last event, not the header's revision, which may be ahead of events still to come; a progress notification
// (every ten minutes by default) moves it while nothing happens, so that compaction does not catch up with a quiet watch.

import type { Revision } from "../registry.ts";
import { StoreError } from "../store_error.ts";
import { type History, type Point, parsePoint } from "./history3.ts";
import type { Event, WatchResponse } from "./rpc.gen.ts";
import type { RpcClient } from "./rpc_client.ts";
import type { Operation } from "./rpc_error.ts";

export interface Watched {
  /** Which keys: one, or with `rangeEnd` all from `key` up to it. */
  readonly key: Uint8Array;
  readonly rangeEnd: Uint8Array;
  /** In words. */
  readonly object: string;
}

export interface EventBatch {
  readonly events: readonly Event[];
  readonly point: Point;
}

export async function* watchEvents(
  client: RpcClient,
  history: History,
  { key, rangeEnd, object }: Watched,
  since: Revision,
  signal: AbortSignal,
): AsyncGenerator<EventBatch, void, undefined> {
  const operation: Operation = { action: `watch ${object}`, needs: { permission: "read", prefix: object } };
  const from = parsePoint(since);
  if (!from) throw compacted(client, object, since, "it is not a revision of etcd v3");
  let point: Point = { ...from, lease: 0n };
  let fragments: Event[] = [];
  let refused = false;
  for (;;) {
    const startRevision = point.revision + 1n;
    const start = { key, rangeEnd, startRevision, progressNotify: true, fragment: true };
    let again = false;
    for await (const response of client.watch(operation, start, signal)) {
      if (response.canceled) {
        // A token that expired counts as no permission; a new one decides.
        if (!refused && /permission denied|auth token/.test(response.cancelReason) && client.renewToken()) {
          refused = true;
          again = true;
          break;
        }
        throw canceled(client, operation, object, since, response);
      }
      const departure = response.created ? history.departure(point, response.header) : undefined;
      if (departure) throw compacted(client, object, since, departure);
      refused = false;
      fragments.push(...response.events);
      if (response.fragment) continue;
      const events = fragments;
      fragments = [];
      // What `created` says of the revision does not count: events before it are still to come.
      const revision =
        events.at(-1)?.kv?.modRevision ?? (response.created ? point.revision : response.header?.revision);
      if (revision !== undefined && revision > point.revision) point = { ...point, revision };
      yield { events, point };
    }
    if (signal.aborted) return;
    if (again) continue;
    throw client.refusal(operation, "the server ended it");
  }
}

function canceled(
  client: RpcClient,
  operation: Operation,
  object: string,
  since: Revision,
  { compactRevision, cancelReason }: WatchResponse,
): StoreError {
  if (compactRevision > 0n)
    return compacted(client, object, since, `changes up to revision ${compactRevision} are compacted`);
  return client.refusal(operation, cancelReason);
}

function compacted(client: RpcClient, object: string, since: Revision, why: string): StoreError {
  const message = `cannot watch ${object} in etcd at ${client.description} from revision ${since}: ${why}; read it again`;
  return new StoreError("compacted", client.description, message);
}
