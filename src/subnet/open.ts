// Opens the store that the options name. Each one's library is loaded only when it is used.

import type { EtcdOptions } from "./etcd/options.ts";
import type { Registry } from "./registry.ts";

export type StoreChoice =
  | { readonly kind: "embedded"; readonly path: string }
  | { readonly kind: "etcd"; readonly api: "auto" | "3" | "2"; readonly etcd: EtcdOptions };

/** Throws StoreError when there is no such store and none can be made; one that does not answer yet is opened all the same. */
export async function openRegistry(choice: StoreChoice, signal: AbortSignal): Promise<Registry> {
  switch (choice.kind) {
    case "embedded": {
      const { EmbeddedRegistry } = await import("./embedded.ts");
      return EmbeddedRegistry.open(choice.path, {}, signal);
    }
    case "etcd": {
      const { api, etcd } = choice;
      if (api === "3") return new (await import("./etcd/registry3.ts")).Etcd3Registry(etcd);
      if (api === "2") return new (await import("./etcd/registry2.ts")).Etcd2Registry(etcd);
      return new (await import("./etcd/auto.ts")).AutoRegistry(etcd);
    }
  }
}
