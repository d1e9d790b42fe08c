// What a flag is. The table of flanneld's flags (flag_table.ts) is made of these; parsing, --help, docs/flags.md and the type of the options follow from it.

import { type Address, familyOf, parseAddress } from "../ip/address.ts";
import type { Family } from "../ip/family.ts";

export const GROUPS = [
  "Store",
  "etcd",
  "Kubernetes",
  "External interface",
  "Subnet",
  "Firewall and routes",
  "Health",
  "Other",
] as const;

interface Row {
  readonly name: string;
  readonly group: (typeof GROUPS)[number];
  /** What the value is, in --help: `--store-file=PATH`. */
  readonly value?: string;
  readonly help: string;
  /** Left out of --help. */
  readonly hidden?: true;
  /** Never shown in a message. */
  readonly secret?: true;
  /** Belongs to a part that this version has not: whether using the flag is let through or refused, and what is said then. */
  readonly later?: { readonly use: "notice" | "fault"; readonly say: string };
}

/** Says what is wanted when a text is wrong. */
type Check = (text: string) => string | undefined;

export type Flag = Row &
  (
    | { readonly kind: "text"; readonly default: string; readonly check?: Check }
    /** list: one text with commas; repeated: given several times. */
    | { readonly kind: "list" | "repeated"; readonly default: readonly string[]; readonly check?: Check }
    | { readonly kind: "boolean"; readonly default: boolean }
    | { readonly kind: "integer"; readonly default: number; readonly min: number; readonly max: number }
    | { readonly kind: "address"; readonly default: string; readonly families: readonly Family[] }
    | { readonly kind: "choice"; readonly default: string; readonly choices: readonly string[] }
  );

/** The type of a flag's value. */
export type FlagValue<F extends Flag> = F extends { kind: "text" }
  ? string
  : F extends { kind: "list" | "repeated" }
    ? readonly string[]
    : F extends { kind: "boolean" }
      ? boolean
      : F extends { kind: "integer" }
        ? number
        : F extends { kind: "address" }
          ? Address | undefined
          : F extends { kind: "choice"; choices: readonly (infer C)[] }
            ? C
            : never;

export type Reading = { readonly value: FlagValue<Flag> } | { readonly want: string };

const FAMILY_NAMES: Record<Family, string> = { ipv4: "IPv4", ipv6: "IPv6" };

/** Go's strconv.ParseBool. */
const BOOLEANS = new Map<string, boolean>([
  ...["1", "t", "T", "TRUE", "true", "True"].map((text) => [text, true] as const),
  ...["0", "f", "F", "FALSE", "false", "False"].map((text) => [text, false] as const),
]);

export function isBooleanText(text: string): boolean {
  return BOOLEANS.has(text);
}

/** The value that `text` spells for `flag`, or what is wanted instead. */
export function readFlagValue(flag: Flag, text: string): Reading {
  switch (flag.kind) {
    case "text":
    case "repeated":
      return checked(flag.kind === "text" ? text : [text], flag.check?.(text));
    case "list": {
      const parts = text === "" ? [] : text.split(",").map((part) => part.trim());
      return checked(
        parts,
        parts.map((part) => flag.check?.(part)).find((want) => want !== undefined),
      );
    }
    case "boolean": {
      const value = BOOLEANS.get(text);
      return value === undefined ? { want: "true or false" } : { value };
    }
    case "integer": {
      const value = /^[+-]?[0-9]+$/.test(text) ? Number(text) : Number.NaN;
      const right = value >= flag.min && value <= flag.max;
      return checked(value, right ? undefined : `a whole number from ${flag.min} to ${flag.max}`);
    }
    case "address": {
      if (text === "") return { value: undefined };
      const address = parseAddress(text);
      const right = address && flag.families.includes(familyOf(address));
      return checked(
        address,
        right ? undefined : `an ${flag.families.map((family) => FAMILY_NAMES[family]).join(" or ")} address`,
      );
    }
    case "choice":
      return checked(text, flag.choices.includes(text) ? undefined : flag.choices.join(" or "));
  }
}

function checked(value: FlagValue<Flag>, want: string | undefined): Reading {
  return want === undefined ? { value } : { want };
}

/** `text` as a message may show it: no password, neither a flag's own nor one in a URL. */
export function shownText(flag: Flag, text: string): string {
  return flag.secret ? "(not shown)" : JSON.stringify(text.replace(/\/\/[^/@,]*@/g, "//…@"));
}

/** The value when nobody gives one. */
export function defaultOf(flag: Flag): FlagValue<Flag> {
  return flag.kind === "address" ? parseAddress(flag.default) : flag.default;
}

/** The default as one would write it; "" when there is none. */
export function defaultText(flag: Flag): string {
  return Array.isArray(flag.default) ? flag.default.join(",") : String(flag.default);
}

export const ENVIRONMENT_PREFIX = "FLANNELD_";

/** FLANNELD_ETCD_PREFIX for etcd-prefix. */
export function environmentName(flag: Flag): string {
  return `${ENVIRONMENT_PREFIX}${flag.name.toUpperCase().replaceAll("-", "_")}`;
}
