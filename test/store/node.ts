// One flanneld as far as the store sees it, as a process of its own: waits for the configuration, takes a lease,
// keeps it, follows the others. Says what happens as one JSON object a line; ends on SIGTERM. Its only argument is a
// NodeOptions as JSON.

import { type Address, parseAddress } from "../../src/ip/address.ts";
import { mapFamilies, type PerFamily } from "../../src/ip/family.ts";
import { openRegistry } from "../../src/subnet/open.ts";
import { createSubnetManager } from "../../src/subnet/registry_manager.ts";

export interface NodeOptions {
  readonly path: string;
  readonly publicIp: PerFamily<string>;
  readonly ttlMs: number;
  readonly renewMarginMs: number;
}

export type NodeReport =
  | { readonly kind: "waiting" }
  | { readonly kind: "lease"; readonly key: string }
  /** `at`: milliseconds since the epoch, with fractions. */
  | { readonly kind: "set"; readonly keys: readonly string[]; readonly at: number }
  | { readonly kind: "kept"; readonly outcome: "lost" | "stopped" }
  | { readonly kind: "event"; readonly event: string }
  | { readonly kind: "failed"; readonly message: string };

function report(line: NodeReport): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

async function main(): Promise<void> {
  const options = JSON.parse(process.argv[2] ?? "{}") as NodeOptions;
  const controller = new AbortController();
  process.on("SIGTERM", () => controller.abort());
  const { signal } = controller;
  using manager = createSubnetManager(await openRegistry({ kind: "embedded", path: options.path }, signal), {
    ttlMs: options.ttlMs,
    renewMarginMs: options.renewMarginMs,
    retry: { firstMs: 10, maxMs: 100 },
    onEvent: (event) => report({ kind: "event", event: event.kind }),
  });
  const config = await manager.networkConfig(signal, () => report({ kind: "waiting" }));
  const publicIp: PerFamily<Address> = mapFamilies(options.publicIp, parseAddress);
  const attributes = { publicIp, backendType: "vxlan", backendData: mapFamilies(publicIp, () => ({ VNI: 1 })) };
  const own = await manager.acquire(config, { attributes, previous: {} }, signal);
  report({ kind: "lease", key: own.key });
  const networks = mapFamilies(config.ranges, ({ network }) => network);
  const following = (async () => {
    for await (const set of manager.leaseSets({ networks, own, hostAddresses: new Set() }, signal)) {
      const at = performance.timeOrigin + performance.now();
      report({ kind: "set", keys: [...set.leases.keys()], at });
    }
  })();
  const outcome = await manager.keep(own, signal);
  report({ kind: "kept", outcome });
  controller.abort();
  await following;
}

await main().catch((error: unknown) => {
  report({ kind: "failed", message: String(error) });
  process.exitCode = 1;
});
