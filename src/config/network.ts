// The network configuration as the rest of the program knows it: what net-conf.json or <prefix>/config say, checked, with defaults filled in.

import type { PerFamily } from "../ip/family.ts";
import type { Prefix } from "../ip/prefix.ts";

/** One family's range, and the part of it that leases are taken from. */
export interface SubnetRange {
  readonly network: Prefix;
  /** Bits of each node's subnet. */
  readonly subnetLength: number;
  /** First and last subnet that may be leased. */
  readonly first: Prefix;
  readonly last: Prefix;
}

export interface NetworkConfig {
  readonly ranges: PerFamily<SubnetRange>;
  readonly enableNftables: boolean;
  readonly backend: {
    /** Lower case. */
    readonly type: string;
    /** The `Backend` object as it stands; each backend reads its own. */
    readonly raw: Readonly<Record<string, unknown>>;
  };
  /** What to tell the operator although nothing is wrong, one line each. */
  readonly warnings: readonly string[];
}
