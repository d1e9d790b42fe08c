// A result in the form of one version of the specification, and read from any (sections "Result" of CNI 0.2.0, 0.3.1, 0.4.0, 1.0.0 and 1.1.0). Keys come in the
// order in which the reference plugins print them, four spaces deep, so that outputs can be compared byte by byte.
//
//   0.1.0 0.2.0         ip4 and ip6, each with an address, a gateway and the routes of its family; no interfaces
//   0.3.0 0.3.1 0.4.0   interfaces, ips with "version" "4" or "6", routes
//   1.0.0               ips without "version"
//   1.1.0               interfaces also with mtu, socketPath, pciID; routes also with mtu, advmss, priority, table, scope

import { isJsonObject } from "../config/json_fields.ts";
import { CNI_CODE, CniError } from "./cni_error.ts";
import type { Result, ResultDns, ResultInterface, ResultIp, ResultRoute } from "./result.ts";
import { isAtLeast, type Version } from "./version.ts";

type Json = Readonly<Record<string, unknown>>;

/** The JSON text of `result`, as it goes to standard output. */
export function formatResult(result: Result, version: Version): string {
  return JSON.stringify(resultObject(result, version), undefined, 4);
}

/** The object that stands for `result`, as `prevResult` holds it. Throws CniError when the version cannot say it. */
export function resultObject(result: Result, version: Version): Json {
  if (!isAtLeast(version, "0.3.0")) return addressPerFamily(result, version);
  const { interfaces, ips, routes } = result;
  return {
    cniVersion: version,
    ...(interfaces.length > 0 && { interfaces: interfaces.map((one) => interfaceObject(one, version)) }),
    ...(ips.length > 0 && { ips: ips.map((one) => ipObject(one, version)) }),
    ...(routes.length > 0 && { routes: routes.map((one) => routeObject(one, version)) }),
    dns: dnsObject(result.dns),
  };
}

/** 0.1.0 and 0.2.0: the first address of each family. */
function addressPerFamily({ ips, routes, dns }: Result, version: Version): Json {
  const entry = (isV6: boolean) => {
    const ip = ips.find(({ address }) => isIpv6(address) === isV6);
    if (!ip) return undefined;
    const own = routes.filter(({ dst }) => isIpv6(dst) === isV6);
    return {
      ip: ip.address,
      ...(ip.gateway !== undefined && { gateway: ip.gateway }),
      ...(own.length > 0 && { routes: own.map((route) => routeObject(route, version)) }),
    };
  };
  const [ip4, ip6] = [entry(false), entry(true)];
  if (!ip4 && !ip6) {
    throw new CniError(CNI_CODE.internal, `cannot convert the result to CNI ${version}: it has no address`);
  }
  return { cniVersion: version, ...(ip4 && { ip4 }), ...(ip6 && { ip6 }), dns: dnsObject(dns) };
}

function interfaceObject({ name, mac, mtu, sandbox, socketPath, pciID }: ResultInterface, version: Version): Json {
  const more = isAtLeast(version, "1.1.0");
  return {
    name,
    ...(mac !== undefined && { mac }),
    ...(more && mtu !== undefined && { mtu }),
    ...(sandbox !== undefined && { sandbox }),
    ...(more && socketPath !== undefined && { socketPath }),
    ...(more && pciID !== undefined && { pciID }),
  };
}

function ipObject({ address, gateway, interface: index }: ResultIp, version: Version): Json {
  return {
    ...(!isAtLeast(version, "1.0.0") && { version: isIpv6(address) ? "6" : "4" }),
    ...(index !== undefined && { interface: index }),
    address,
    ...(gateway !== undefined && { gateway }),
  };
}

function routeObject({ dst, gw, mtu, advmss, priority, table, scope }: ResultRoute, version: Version): Json {
  const short = { dst, ...(gw !== undefined && { gw }) };
  if (!isAtLeast(version, "1.1.0")) return short;
  const more = Object.entries({ mtu, advmss, priority, table, scope }).filter(([, value]) => value !== undefined);
  return { ...short, ...Object.fromEntries(more) };
}

function dnsObject({ nameservers = [], domain, search = [], options = [] }: ResultDns): Json {
  return {
    ...(nameservers.length > 0 && { nameservers }),
    ...(domain && { domain }),
    ...(search.length > 0 && { search }),
    ...(options.length > 0 && { options }),
  };
}

function isIpv6(text: string): boolean {
  return text.includes(":");
}

/** Reads a result of any version, by its keys. Throws CniError "decode" that names every fault. */
export function parseResult(json: unknown, where: string): Result {
  const reader = new ResultReader(where);
  const result = reader.result(json);
  if (reader.faults.length > 0) throw new CniError(CNI_CODE.decode, `cannot read ${reader.faults.join("; ")}`);
  return result;
}

type Kind = "text" | "number";
type Keys = Readonly<Record<string, Kind>>;

const INTERFACE: Keys = {
  name: "text",
  mac: "text",
  mtu: "number",
  sandbox: "text",
  socketPath: "text",
  pciID: "text",
};
const IP: Keys = { address: "text", gateway: "text", interface: "number" };
const FAMILY_IP: Keys = { ip: "text", gateway: "text" };
const ROUTE: Keys = {
  dst: "text",
  gw: "text",
  mtu: "number",
  advmss: "number",
  priority: "number",
  table: "number",
  scope: "number",
};

class ResultReader {
  readonly faults: string[] = [];
  readonly #where: string;

  constructor(where: string) {
    this.#where = where;
  }

  result(json: unknown): Result {
    const raw = this.#object(json, "");
    const ips = this.#list(raw, "ips", IP, "address") as unknown as ResultIp[];
    const routes = this.#list(raw, "routes", ROUTE, "dst") as unknown as ResultRoute[];
    for (const key of ["ip4", "ip6"]) {
      if (raw[key] === undefined || raw[key] === null) continue;
      const entry = this.#object(raw[key], key);
      const { ip, ...rest } = this.#keys(entry, key, FAMILY_IP, "ip");
      if (typeof ip === "string") ips.push({ address: ip, ...rest });
      routes.push(...(this.#list(entry, "routes", ROUTE, "dst", `${key}.`) as unknown as ResultRoute[]));
    }
    const interfaces = this.#list(raw, "interfaces", INTERFACE, "name") as unknown as ResultInterface[];
    return { interfaces, ips, routes, dns: this.#dns(raw.dns) };
  }

  #dns(json: unknown): ResultDns {
    const raw = json === undefined || json === null ? {} : this.#object(json, "dns");
    const texts = (key: string) => {
      const value = raw[key] ?? [];
      if (Array.isArray(value) && value.every((one) => typeof one === "string")) return value;
      this.#fault(`dns.${key}`, value, "a list of text");
      return [];
    };
    const [nameservers, search, options] = [texts("nameservers"), texts("search"), texts("options")];
    const { domain } = this.#keys(raw, "dns", { domain: "text" });
    return {
      ...(nameservers.length > 0 && { nameservers }),
      ...(typeof domain === "string" && domain !== "" && { domain }),
      ...(search.length > 0 && { search }),
      ...(options.length > 0 && { options }),
    };
  }

  #list(raw: Json, key: string, keys: Keys, required: string, prefix = ""): Record<string, string | number>[] {
    const value = raw[key] ?? [];
    if (!Array.isArray(value)) {
      this.#fault(prefix + key, value, "a list");
      return [];
    }
    return value.map((one, index) => {
      const place = `${prefix}${key}[${index}]`;
      return this.#keys(this.#object(one, place), place, keys, required);
    });
  }

  /** What `raw` has of `keys`; text that is empty and null count as absent, as in Go. */
  #keys(raw: Json, place: string, keys: Keys, required?: string): Record<string, string | number> {
    const found: Record<string, string | number> = {};
    for (const [key, kind] of Object.entries(keys)) {
      const value = raw[key];
      if (value === undefined || value === null || value === "") {
        if (key === required) this.#fault(`${place}.${key}`, value, "text");
      } else if (kind === "text" ? typeof value === "string" : Number.isSafeInteger(value)) {
        found[key] = value as string | number;
      } else {
        this.#fault(`${place}.${key}`, value, kind === "text" ? "text" : "a whole number");
      }
    }
    return found;
  }

  #object(json: unknown, place: string): Json {
    if (isJsonObject(json)) return json;
    this.#fault(place, json, "a JSON object");
    return {};
  }

  #fault(place: string, got: unknown, want: string): void {
    const name = place === "" ? this.#where : `${this.#where}.${place}`;
    const what = got === undefined ? "missing" : `got ${JSON.stringify(got).slice(0, 80)}`;
    this.faults.push(`${name}: ${what}, want ${want}`);
  }
}
