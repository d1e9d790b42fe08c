// A program of its own that asks etcd for the configuration with each of the options given as JSON, one after another, and
// prints what comes of it: so that a test can set the environment. With "2" as second argument over the v2 API.

import type { EtcdOptions } from "../../src/subnet/etcd/options.ts";
import { Etcd2Registry } from "../../src/subnet/etcd/registry2.ts";
import { Etcd3Registry } from "../../src/subnet/etcd/registry3.ts";
import { StoreError } from "../../src/subnet/store_error.ts";

export type Answer = { readonly reason: string; readonly message: string };

const answers: Answer[] = [];
for (const options of JSON.parse(process.argv[2] ?? "[]") as EtcdOptions[]) {
  try {
    using registry = process.argv[3] === "2" ? new Etcd2Registry(options) : new Etcd3Registry(options);
    await registry.config(AbortSignal.timeout(20_000));
    answers.push({ reason: "none", message: "" });
  } catch (error) {
    answers.push({ reason: error instanceof StoreError ? error.reason : "no StoreError", message: String(error) });
  }
}
console.log(JSON.stringify(answers));
