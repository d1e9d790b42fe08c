// Opens the store that the options name. Each one's library is loaded only when it is used.

import type { Registry } from "./registry.ts";

export type StoreChoice = { readonly kind: "embedded"; readonly path: string };

/** Throws StoreError when there is no such store and none can be made. */
export async function openRegistry(choice: StoreChoice, signal: AbortSignal): Promise<Registry> {
  switch (choice.kind) {
    case "embedded": {
      const { EmbeddedRegistry } = await import("./embedded.ts");
      return EmbeddedRegistry.open(choice.path, {}, signal);
    }
  }
}
