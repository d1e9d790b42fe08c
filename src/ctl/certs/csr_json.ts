// Reads a certificate signing request in cfssl's JSON, which the guides for etcd's certificates use: CN, hosts, key, names, ca. Keys match in any case and
// unknown ones are let through, as Go's decoder does; a value that would make another certificate than was meant is a fault, and all of them are named.

import { ConfigError, type Fault } from "../../config/fault.ts";
import { isJsonObject, misspeltKeys, quote, readFields } from "../../config/json_fields.ts";
import { parseJson } from "../../config/json_syntax.ts";
import { EXPIRY_WANTED, parseExpiry } from "./expiry.ts";
import { HOST_WANTED, parseHost } from "./host.ts";
import { DEFAULT_KEY, type KeySpec, keySpecFrom } from "./key_pair.ts";
import type { Subject } from "./subject.ts";

export interface CsrJson {
  readonly subject: Subject;
  readonly hosts: readonly string[];
  readonly key: KeySpec;
  /** What `ca` says; of an authority alone. */
  readonly expiryMs?: number;
  readonly pathLength?: number;
  /** What to tell the operator although nothing is wrong. */
  readonly warnings: readonly string[];
}

const FIELDS = {
  CN: { type: "text", default: "" },
  hosts: { type: "list" },
  key: { type: "object" },
  names: { type: "list" },
  ca: { type: "object" },
} as const;
const KEY_FIELDS = {
  algo: { type: "text", default: undefined },
  size: { type: "integer", min: 0, max: 65_536, default: 0 },
} as const;
const NAME_FIELDS = {
  C: { type: "text", default: "" },
  ST: { type: "text", default: "" },
  L: { type: "text", default: "" },
  O: { type: "text", default: "" },
  OU: { type: "text", default: "" },
} as const;
const CA_FIELDS = {
  expiry: { type: "text", default: "" },
  pathlen: { type: "integer", min: 0, max: 100, default: 0 },
  pathlenzero: { type: "boolean", default: false },
} as const;

/** Reads `text`, which came from the file `source`. Throws ConfigError naming every fault. */
export function readCsrJson(text: string, source: string): CsrJson {
  const raw = parseJson(text, source);
  if (!isJsonObject(raw)) throw new ConfigError([{ where: source, got: quote(raw), want: "a JSON object" }]);
  const faults: Fault[] = [];
  const where = (path: string) => `${source}: ${path}`;
  const { CN, hosts, key, names, ca } = readFields(raw, FIELDS, where, faults);
  const request = {
    subject: { ...readNames(names ?? [], where, faults), ...(CN !== "" && { commonName: CN }) },
    hosts: readHosts(hosts ?? [], where, faults),
    key: key === undefined ? DEFAULT_KEY : readKey(key, where, faults),
    ...readAuthority(ca ?? {}, where, faults),
    warnings: misspeltKeys(raw, Object.keys(FIELDS)).map(
      ({ key, meant }) => `${source}: the unknown key ${quote(key)} has no effect; did you mean ${quote(meant)}`,
    ),
  };
  if (faults.length > 0) throw new ConfigError(faults);
  return request;
}

type Where = (path: string) => string;

function readHosts(hosts: readonly unknown[], where: Where, faults: Fault[]): readonly string[] {
  return hosts.flatMap((host, i) => {
    // Many a guide says "nobody" with one empty text.
    if (host === "") return [];
    if (typeof host === "string" && parseHost(host)) return [host];
    faults.push({ where: where(`hosts[${i}]`), got: quote(host), want: HOST_WANTED });
    return [];
  });
}

function readKey(raw: Readonly<Record<string, unknown>>, where: Where, faults: Fault[]): KeySpec {
  const before = faults.length;
  const { algo, size } = readFields(raw, KEY_FIELDS, (name) => where(`key.${name}`), faults);
  const spec = keySpecFrom(algo ?? "", size);
  if (spec) return spec;
  if (faults.length === before) {
    const wrongSize = algo === "rsa" || algo === "ecdsa";
    const got = wrongSize
      ? raw.size === undefined
        ? undefined
        : quote(raw.size)
      : algo === undefined
        ? undefined
        : quote(algo);
    const want = wrongSize ? (algo === "rsa" ? "2048 to 8192" : "256, 384 or 521") : '"rsa" or "ecdsa"';
    faults.push({ where: where(`key.${wrongSize ? "size" : "algo"}`), got, want });
  }
  return DEFAULT_KEY;
}

function readNames(names: readonly unknown[], where: Where, faults: Fault[]): Subject {
  const read = names.flatMap((name, i) => {
    const at = `names[${i}]`;
    if (isJsonObject(name)) return [readFields(name, NAME_FIELDS, (key) => where(`${at}.${key}`), faults)];
    faults.push({ where: where(at), got: quote(name), want: "a JSON object" });
    return [];
  });
  for (const [i, { C }] of read.entries()) {
    if (C !== "" && !/^[A-Za-z]{2}$/.test(C)) {
      faults.push({ where: where(`names[${i}].C`), got: quote(C), want: "the two letters of a country" });
    }
  }
  const all = (key: keyof typeof NAME_FIELDS) => read.map((name) => name[key]).filter((value) => value !== "");
  return { countries: all("C"), states: all("ST"), localities: all("L"), organizations: all("O"), units: all("OU") };
}

function readAuthority(raw: Readonly<Record<string, unknown>>, where: Where, faults: Fault[]) {
  const { expiry, pathlen, pathlenzero } = readFields(raw, CA_FIELDS, (name) => where(`ca.${name}`), faults);
  const expiryMs = expiry === "" ? undefined : parseExpiry(expiry);
  if (expiry !== "" && expiryMs === undefined) {
    faults.push({ where: where("ca.expiry"), got: quote(expiry), want: EXPIRY_WANTED });
  }
  return {
    ...(expiryMs !== undefined && { expiryMs }),
    // 0 alone means no limit, as in Go's certificates.
    ...((pathlen > 0 || pathlenzero) && { pathLength: pathlen }),
  };
}
