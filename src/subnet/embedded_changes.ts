// What changed in an embedded store since a revision: index lookups, so the cost follows the change and not the
// number of leases.

import type { OpenStore } from "./embedded_file.ts";
import type { Change, RegistryEntry, Revision } from "./registry.ts";
import { StoreError } from "./store_error.ts";

export interface LeaseRow {
  readonly key: string;
  readonly value: string;
  readonly expires_at: number | null;
  readonly revision: number;
}

export interface Meta {
  readonly revision: number;
  readonly compacted: number;
  readonly config: string | null;
  readonly config_revision: number;
}

/** Where a watcher stands: every change up to `revision` and every expiry up to `time` was told. */
export interface Cursor {
  readonly revision: Revision;
  readonly time: number;
}

/**
 * A revision names its store as well, so that one of a file that was deleted and made anew is not mistaken for one of
 * this.
 */
export function formatRevision(store: OpenStore, revision: number): Revision {
  return `${store.id}:${revision}` as Revision;
}

/** The number of a revision of this store; undefined for one of another. */
export function parseRevision(store: OpenStore, revision: Revision): number | undefined {
  return revision.startsWith(`${store.id}:`) ? Number(revision.slice(store.id.length + 1)) : undefined;
}

export function entryOf(store: OpenStore, row: LeaseRow): RegistryEntry {
  return {
    key: row.key,
    value: row.value,
    reserved: row.expires_at === null,
    expiresAt: row.expires_at ?? undefined,
    revision: formatRevision(store, row.revision),
  };
}

export function readMeta(store: OpenStore): Meta {
  const meta = store.db.query<Meta, []>("SELECT revision, compacted, config, config_revision FROM meta").get();
  return meta ?? { revision: 0, compacted: 0, config: null, config_revision: 0 };
}

/** Whether anything after `since` may have happened; throws "compacted" when the store cannot tell what. */
export function revisionsSince(store: OpenStore, since: Revision, endpoint: string): { since: number; meta: Meta } {
  const meta = readMeta(store);
  const number = parseRevision(store, since);
  if (number === undefined || number > meta.revision || number < meta.compacted) {
    const why = number === undefined ? "the file was replaced" : "the changes since then are forgotten";
    throw new StoreError(
      "compacted",
      endpoint,
      `cannot watch ${endpoint} from revision ${since}: ${why}; read it again`,
    );
  }
  return { since: number, meta };
}

/**
 * The changes after `cursor`, oldest first, of one key or (`key` null) of all; and in how many milliseconds the next
 * lease expires.
 */
export function changesSince(
  store: OpenStore,
  cursor: Cursor,
  key: string | null,
  endpoint: string,
): { changes: Change[]; cursor: Cursor; nextExpiryMs: number } {
  const { since, meta } = revisionsSince(store, cursor.revision, endpoint);
  const now = store.now();
  const changes = meta.revision > since ? writtenSince(store, since, key) : [];
  // One that was written and expired since comes as a put and then a removal.
  const expired = store.db
    .query<{ key: string }, [number, number, string | null]>(
      "SELECT key FROM leases WHERE expires_at > ?1 AND expires_at <= ?2 AND (?3 IS NULL OR key = ?3)",
    )
    .all(cursor.time, now, key);
  for (const row of expired) changes.push({ kind: "remove", key: row.key });
  const next = store.db
    .query<{ at: number | null }, [number]>("SELECT min(expires_at) AS at FROM leases WHERE expires_at > ?")
    .get(now);
  return {
    changes,
    cursor: { revision: formatRevision(store, meta.revision), time: now },
    nextExpiryMs: typeof next?.at === "number" ? next.at - now : Number.POSITIVE_INFINITY,
  };
}

function writtenSince(store: OpenStore, since: number, key: string | null): Change[] {
  const rows = store.db
    .query<LeaseRow, [number, string | null]>(
      "SELECT key, value, expires_at, revision FROM leases WHERE revision > ?1 AND (?2 IS NULL OR key = ?2)" +
        " UNION ALL SELECT key, NULL, NULL, revision FROM removed WHERE revision > ?1 AND (?2 IS NULL OR key = ?2)" +
        " ORDER BY revision",
    )
    .all(since, key);
  return rows.map((row) =>
    // STRICT tables: a lease's value is never NULL.
    (row.value as string | null) === null
      ? { kind: "remove", key: row.key }
      : { kind: "put", entry: entryOf(store, row) },
  );
}
