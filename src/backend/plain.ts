// The parts of a backend that has nothing to say in them, to be spread into it.

import { readBackendOptions } from "../config/backend_options.ts";
import type { Backend } from "./backend.ts";

export type Nothing = Readonly<Record<string, never>>;

/** Peers know the node by its public IP alone. */
export const NO_IDENTITY = {
  known: () => ({}),
  identity: () => ({}),
  leaseData: () => ({}),
} as const satisfies Partial<Backend<unknown, Nothing>>;

export const NO_LINKS = {
  linkNames: () => [],
  ownsLink: () => false,
} as const satisfies Partial<Backend<unknown, unknown>>;

/** Throws ConfigError for a `Backend` that is no object. */
export const NO_OPTIONS = {
  optionNames: [],
  config: (raw: unknown, where?: string): Nothing => {
    readBackendOptions(raw, {}, where);
    return {};
  },
} as const satisfies Partial<Backend<Nothing, unknown>>;
