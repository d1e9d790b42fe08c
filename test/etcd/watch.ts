// A program of its own that watches etcd's leases with the options given as JSON, for tests that put it into a namespace, and
// prints a line for what it sees: "stands", "put KEY", or why the watch broke.

import type { EtcdOptions } from "../../src/subnet/etcd/options.ts";
import { Etcd3Registry } from "../../src/subnet/etcd/registry3.ts";
import { StoreError } from "../../src/subnet/store_error.ts";

const registry = new Etcd3Registry(JSON.parse(process.argv[2] ?? "") as EtcdOptions);
const { signal } = new AbortController();
let since = (await registry.entries(signal)).revision;
for (;;) {
  let stands = false;
  try {
    for await (const { changes, revision } of registry.watch(since, signal)) {
      since = revision;
      if (!stands) console.log("stands");
      stands = true;
      for (const change of changes) if (change.kind === "put") console.log(`put ${change.entry.key}`);
    }
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    // Why the next connection does not come to stand at once is not what is asked here.
    if (stands) console.log(error.message);
    await Bun.sleep(50);
  }
}
