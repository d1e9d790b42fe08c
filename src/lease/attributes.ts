// A lease's value in a store, upstream's LeaseAttrs as JSON:
// {"PublicIP":"192.0.2.1","PublicIPv6":null,"BackendType":"vxlan","BackendData":{…},"BackendV6Data":{…}}

import { type Address, familyOf, parseAddress } from "../ip/address.ts";
import type { Family } from "../ip/family.ts";
import { type LeaseAttributes, type Refusal, refusal } from "./lease.ts";

const PUBLIC_IP_KEY: Record<Family, string> = { ipv4: "PublicIP", ipv6: "PublicIPv6" };
const BACKEND_DATA_KEY: Record<Family, string> = { ipv4: "BackendData", ipv6: "BackendV6Data" };

/**
 * Characters. A lease has some hundred; a backend's own data could be a certificate. Beyond that it is an attack: deeply nested JSON parses, and then
 * overflows the stack of whoever writes it out again.
 */
const MAX_VALUE_LENGTH = 16 * 1024;

/**
 * The JSON text of attributes, in upstream's field order; empty backend fields are left out. PublicIPv6 is null when absent, except in the `etcd2` form:
 * upstream's daemons of that time knew no IPv6, and what they write has no such field.
 */
export function formatLeaseAttributes(attributes: LeaseAttributes, form: "current" | "etcd2" = "current"): string {
  const { publicIp, backendType, backendData } = attributes;
  return JSON.stringify({
    PublicIP: publicIp.ipv4,
    PublicIPv6: publicIp.ipv6 ?? (form === "etcd2" ? undefined : null),
    BackendType: backendType === "" ? undefined : backendType,
    BackendData: backendData.ipv4,
    BackendV6Data: backendData.ipv6,
  });
}

/** Reads what another node wrote. A value that does not parse is refused with a reason, never thrown. */
export function parseLeaseAttributes(text: string): LeaseAttributes | Refusal {
  if (text.length > MAX_VALUE_LENGTH) {
    return refusal(`its value has ${text.length} characters, want at most ${MAX_VALUE_LENGTH}`);
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return refusal(`its value is not JSON: ${excerpt(text)}`);
  }
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    return refusal(`its value is not a JSON object: ${excerpt(text)}`);
  }
  const fields = json as Record<string, unknown>;
  const publicIp: { ipv4?: Address; ipv6?: Address } = {};
  const backendData: { ipv4?: unknown; ipv6?: unknown } = {};
  for (const family of ["ipv4", "ipv6"] as const) {
    const given = fields[PUBLIC_IP_KEY[family]];
    if (given !== undefined && given !== null && given !== "") {
      const address = typeof given === "string" ? parseAddress(given) : undefined;
      if (!address || familyOf(address) !== family) {
        return refusal(`${PUBLIC_IP_KEY[family]} is ${excerpt(given)}, want an ${family} address`);
      }
      publicIp[family] = address;
    }
    const data = fields[BACKEND_DATA_KEY[family]];
    if (data !== undefined && data !== null) backendData[family] = data;
  }
  if (!publicIp.ipv4 && !publicIp.ipv6) return refusal("it has neither PublicIP nor PublicIPv6");
  const type = fields.BackendType ?? "";
  if (typeof type !== "string") return refusal(`BackendType is ${excerpt(type)}, want text`);
  return { publicIp, backendType: type.toLowerCase(), backendData };
}

/** Whether two nodes' attributes say the same; backend data compare as JSON text. */
export function sameAttributes(a: LeaseAttributes, b: LeaseAttributes): boolean {
  return formatLeaseAttributes(a) === formatLeaseAttributes(b);
}

/** Somebody else's value for a message: on one line, without control characters, not long. */
function excerpt(value: unknown): string {
  return JSON.stringify(value).slice(0, 80);
}
