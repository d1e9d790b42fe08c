// The alloc backend: a lease and nothing else, for who routes by other means and wants flannel's allocation of subnets alone. Authority: upstream's
// documentation of the backend. Whoever else has a lease is of no interest here, and whichever backend they run.

import type { Backend } from "./backend.ts";
import { NO_IDENTITY, NO_LINKS, NO_OPTIONS, type Nothing } from "./plain.ts";

export const alloc: Backend<Nothing, Nothing> = {
  type: "alloc",

  leaseType: "",

  ...NO_OPTIONS,

  ...NO_LINKS,

  ...NO_IDENTITY,

  mtu: (_config, facts) => facts.external.mtu,

  node: () => [],

  peer: () => [],
};
