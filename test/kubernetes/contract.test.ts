// The contract, on the double and (KUBECONFIG_UNDER_TEST) on a real API server; and doubles that are wrong in one thing, which it must notice.

import { describe, expect, test } from "bun:test";
import { readKubeconfig } from "../../src/subnet/kubernetes/kubeconfig.ts";
import { Caller } from "./caller.ts";
import { CLAUSES, Cluster } from "./contract.ts";
import { Loopback } from "./loopback.ts";
import type { Flaws } from "./node_store.ts";

const { KUBECONFIG_UNDER_TEST } = process.env;

async function openDouble(flaws: Flaws = {}) {
  const stack = new AsyncDisposableStack();
  const loopback = stack.use(await Loopback.open({ flaws, futureMs: 300 }));
  return { cluster: stack.use(new Cluster(new Caller(loopback.access("admin-token")))), stack };
}

const open = KUBECONFIG_UNDER_TEST
  ? async () => {
      const stack = new AsyncDisposableStack();
      const caller = new Caller(readKubeconfig(KUBECONFIG_UNDER_TEST, process.env));
      return { cluster: stack.use(new Cluster(caller)), stack };
    }
  : openDouble;

describe(KUBECONFIG_UNDER_TEST ? `the API server of ${KUBECONFIG_UNDER_TEST}` : "the double", () => {
  test.each(Object.entries(CLAUSES))("%s", async (_title, clause) => {
    const { cluster, stack } = await open();
    await using _ = stack;
    await clause(cluster);
  });
});

const broken: [keyof Flaws, RegExp][] = [
  ["versionNotRaised", /raises the version|in order/],
  ["bookmarkMissing", /bookmark/],
  ["specByStatus", /does not change the spec/],
  ["metadataWithoutUid", /metadata alone/],
  ["metadataWithoutAnnotations", /metadata alone/],
];
test.each(broken)(
  "a double that is wrong in one thing does not hold the contract: %s",
  async (flaw, clauses) => {
    const failed: string[] = [];
    for (const [title, clause] of Object.entries(CLAUSES)) {
      const { cluster, stack } = await openDouble({ [flaw]: true });
      await using _ = stack;
      await clause(cluster).catch(() => failed.push(title));
    }
    expect(failed.filter((title) => clauses.test(title))).not.toEqual([]);
    expect(failed.length).toBeLessThan(Object.keys(CLAUSES).length / 2);
  },
  60_000,
);
