// The embedded store's file: an SQLite database, version 1. Every change takes the next revision, so "what changed
// since 41" is an index lookup; what was removed leaves its key in `removed` for watchers, until `compacted` passes
// it.

import type { Database } from "bun:sqlite";
import { StoreError } from "./store_error.ts";

/** "flTS", in the file's header (PRAGMA application_id): tells our database from another program's. */
const APPLICATION_ID = 0x666c5453;
const SCHEMA_VERSION = 1;

const SCHEMA = `
CREATE TABLE meta (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  store TEXT NOT NULL,               -- random: a file deleted and made anew is another store
  revision INTEGER NOT NULL,         -- of the last change
  compacted INTEGER NOT NULL,        -- removals up to this revision are forgotten
  config TEXT,                       -- net-conf.json's text; NULL when there is none
  config_revision INTEGER NOT NULL
) STRICT;
CREATE TABLE leases (
  created INTEGER PRIMARY KEY,       -- revision that created it, so a table scan is in order of creation
  key TEXT NOT NULL UNIQUE,
  value TEXT NOT NULL,
  expires_at INTEGER,                -- milliseconds since the epoch by the store's clock; NULL for a reservation
  revision INTEGER NOT NULL          -- that last changed the value; a renewal does not count
) STRICT;
CREATE INDEX leases_by_revision ON leases (revision);
CREATE INDEX leases_by_expiry ON leases (expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE removed (revision INTEGER PRIMARY KEY, key TEXT NOT NULL) STRICT;
CREATE TABLE clocks (boot TEXT PRIMARY KEY, offset_ms INTEGER NOT NULL) STRICT;
`;

/**
 * Makes the tables in an empty database, and refuses one that is not ours. Throws SQLite's own error when another
 * process is at it (SQLITE_BUSY).
 */
export function prepareSchema(db: Database, path: string, endpoint: string): void {
  if (db.transaction(() => isPrepared(db, path, endpoint))()) return;
  // Readers then never wait for a writer. It is a property of the file; where the file system cannot have it SQLite
  // keeps its rollback journal.
  db.run("PRAGMA journal_mode = WAL");
  db.transaction(() => {
    if (isPrepared(db, path, endpoint)) return;
    db.run(SCHEMA);
    const store = crypto.randomUUID();
    db.query("INSERT INTO meta VALUES (1, ?, 0, 0, NULL, 0)").run(store);
    db.run(`PRAGMA application_id = ${APPLICATION_ID}`);
    db.run(`PRAGMA user_version = ${SCHEMA_VERSION}`);
  }).immediate();
}

/** Inside a transaction, so that another process that is making the tables is seen either before or after. */
function isPrepared(db: Database, path: string, endpoint: string): boolean {
  const application = db.query<{ application_id: number }, []>("PRAGMA application_id").get()?.application_id;
  const version = db.query<{ user_version: number }, []>("PRAGMA user_version").get()?.user_version ?? 0;
  if (application === APPLICATION_ID) {
    if (version === SCHEMA_VERSION) return true;
    throw new StoreError(
      "invalid",
      endpoint,
      `cannot use store ${path}: its schema is version ${version}, this program knows ${SCHEMA_VERSION}; ` +
        "use the version of flanneld that wrote it, or give another --store-file",
    );
  }
  const tables = db.query<{ count: number }, []>("SELECT count(*) AS count FROM sqlite_schema").get()?.count ?? 0;
  if (tables === 0 && !application && version === 0) return false;
  throw new StoreError(
    "invalid",
    endpoint,
    `cannot use store ${path}: it is an SQLite database of another program (application_id ${application}, ` +
      `${tables} tables and indexes); give another --store-file`,
  );
}
