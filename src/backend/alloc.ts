// The alloc backend: a lease and nothing else, for who routes by other means and wants flannel's allocation of subnets alone. Authority: upstream's
// documentation of the backend. Whoever else has a lease is of no interest here, and whichever backend they run.

import { readBackendOptions } from "../config/backend_options.ts";
import type { Backend } from "./backend.ts";

type Nothing = Readonly<Record<string, never>>;

export const alloc: Backend<Nothing, Nothing> = {
  type: "alloc",

  leaseType: "",

  optionNames: [],

  config(raw, where) {
    readBackendOptions(raw, {}, where);
    return {};
  },

  linkNames: () => [],

  ownsLink: () => false,

  known: () => ({}),

  identity: () => ({}),

  leaseData: () => ({}),

  mtu: (_config, facts) => facts.external.mtu,

  node: () => [],

  peer: () => [],
};
