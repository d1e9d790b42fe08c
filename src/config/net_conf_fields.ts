// The keys of the network configuration, and which of them belong to which address family.

import type { Family } from "../ip/family.ts";
import type { Fields, FieldValues } from "./json_fields.ts";

/** A length of 0 is how upstream writes "the default". */
export const FIELDS = {
  EnableIPv4: { type: "boolean", default: true },
  EnableIPv6: { type: "boolean", default: false },
  EnableNFTables: { type: "boolean", default: false },
  Network: { type: "text", default: undefined },
  SubnetMin: { type: "text", default: undefined },
  SubnetMax: { type: "text", default: undefined },
  SubnetLen: { type: "integer", min: 0, max: 32, default: 0 },
  IPv6Network: { type: "text", default: undefined },
  IPv6SubnetMin: { type: "text", default: undefined },
  IPv6SubnetMax: { type: "text", default: undefined },
  IPv6SubnetLen: { type: "integer", min: 0, max: 128, default: 0 },
  Backend: { type: "object" },
} as const satisfies Fields;

export type NetConfKey = keyof typeof FIELDS;
export type NetConfValues = FieldValues<typeof FIELDS>;

export const RANGE_KEYS = {
  ipv4: {
    enable: "EnableIPv4",
    network: "Network",
    min: "SubnetMin",
    max: "SubnetMax",
    length: "SubnetLen",
  },
  ipv6: {
    enable: "EnableIPv6",
    network: "IPv6Network",
    min: "IPv6SubnetMin",
    max: "IPv6SubnetMax",
    length: "IPv6SubnetLen",
  },
} as const satisfies Record<Family, Record<string, NetConfKey>>;

/** What is to be told about one key. */
export interface Remarks {
  wrong(key: NetConfKey, got: string | undefined, want: string): void;
  warn(key: NetConfKey, message: string): void;
}
