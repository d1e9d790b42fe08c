// Where the cluster answers: URLs as given or as SRV records name them, tried in turn until one works, beginning with the
// one that did last. Host names are resolved anew for each connection, all their addresses are tried, and what a name
// resolved to before is used when the name server is silent.

import { promises as dns, type LookupAddress } from "node:dns";
import { isIP } from "node:net";
import { StoreError } from "../store_error.ts";
import type { EtcdOptions } from "./options.ts";

const DEFAULT_PORT = 2379;
/** Records for connections with TLS and without, by the names that etcd's own clients ask for. */
const SRV_NAMES = [
  ["https", "_etcd-client-ssl._tcp"],
  ["http", "_etcd-client._tcp"],
] as const;

export interface Endpoint {
  /** As an origin: "https://etcd1.example:2379". */
  readonly url: string;
  readonly secure: boolean;
  /** Without brackets. */
  readonly host: string;
  readonly port: number;
}

/** One address of an endpoint. */
export interface Target {
  readonly endpoint: Endpoint;
  readonly address: string;
  /** For connecting to this address alone. */
  readonly connectMs: number;
}

export interface Resolver {
  lookup(host: string): Promise<readonly LookupAddress[]>;
  resolveSrv(name: string): Promise<readonly { name: string; port: number; priority: number; weight: number }[]>;
}

const SYSTEM_RESOLVER: Resolver = {
  lookup: (host) => dns.lookup(host, { all: true }),
  resolveSrv: (name) => dns.resolveSrv(name),
};

/** Throws StoreError "invalid". Without "http://" or "https://" it has TLS if there are files for it, as with Go's client. */
export function parseEndpoint(text: string, tlsGiven: boolean): Endpoint {
  const match = /^(?:(https?):\/\/)?(\[[0-9a-f:.]+\]|[^:/?#@[\]\s]+)(?::(\d{1,5}))?\/?$/i.exec(text.trim());
  const port = Number(match?.[3] ?? DEFAULT_PORT);
  const name = match?.[2]?.replace(/^\[|\]$/g, "").toLowerCase();
  if (!name || port < 1 || port > 65_535 || (match?.[2]?.startsWith("[") && isIP(name) !== 6)) {
    throw new StoreError("invalid", text, `cannot use --etcd-endpoints: got ${text}, want http(s)://host:port`);
  }
  return endpointOf(match?.[1] ? match[1].toLowerCase() === "https" : tlsGiven, name, port);
}

function endpointOf(secure: boolean, host: string, port: number): Endpoint {
  const bracketed = isIP(host) === 6 ? `[${host}]` : host;
  return { url: `http${secure ? "s" : ""}://${bracketed}:${port}`, secure, host, port };
}

export class Endpoints {
  readonly #given: readonly Endpoint[];
  readonly #options: Pick<EtcdOptions, "discoverySrv" | "timing">;
  readonly #tlsGiven: boolean;
  readonly #resolver: Resolver;
  /** By host; what it last resolved to, and a question still under way. */
  readonly #known = new Map<string, readonly LookupAddress[]>();
  readonly #asked = new Map<string, Promise<readonly LookupAddress[]>>();
  #discovered: readonly Endpoint[] = [];
  #good: string | undefined;

  constructor(options: EtcdOptions, resolver: Resolver = SYSTEM_RESOLVER) {
    const { caFile, certFile, keyFile } = options.tls;
    this.#tlsGiven = `${caFile}${certFile}${keyFile}` !== "";
    this.#given = options.discoverySrv === "" ? options.endpoints.map((url) => parseEndpoint(url, this.#tlsGiven)) : [];
    this.#options = options;
    this.#resolver = resolver;
  }

  /** For messages: "https://192.0.2.1:2379, https://192.0.2.2:2379". */
  get description(): string {
    const { discoverySrv } = this.#options;
    if (discoverySrv !== "") return `the members that SRV records of ${discoverySrv} name`;
    return this.#given.map(({ url }) => url).join(", ");
  }

  /**
   * What `attempt` gives for the first address where it succeeds. Throws StoreError with the cause for each endpoint when
   * all fail. An endpoint costs no more than its `connectMs`, and what the name server takes.
   */
  async connect<T>(attempt: (target: Target, signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
    const failures: StoreError[] = [];
    for (const endpoint of await this.#inTurn(signal)) {
      try {
        const addresses = await this.#resolve(endpoint, signal);
        const connectMs = this.#options.timing.connectMs / addresses.length;
        for (const [i, { address }] of addresses.entries()) {
          try {
            const connected = await attempt({ endpoint, address, connectMs }, signal);
            this.#good = endpoint.url;
            return connected;
          } catch (error) {
            if (!(error instanceof StoreError) || i === addresses.length - 1) throw error;
          }
        }
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof StoreError)) throw error;
        failures.push(error);
      }
    }
    throw together(failures, this.description);
  }

  /** The endpoint that `url` names turned out bad: the next connection begins with the one after it. */
  avoid(url: string): void {
    const all = this.#given.length > 0 ? this.#given : this.#discovered;
    const next = all[(all.findIndex((endpoint) => endpoint.url === url) + 1) % all.length];
    this.#good = next?.url;
  }

  async #inTurn(signal: AbortSignal): Promise<readonly Endpoint[]> {
    const all = this.#given.length > 0 ? this.#given : await this.#discover(signal);
    const first = Math.max(
      all.findIndex(({ url }) => url === this.#good),
      0,
    );
    return [...all.slice(first), ...all.slice(0, first)];
  }

  async #discover(signal: AbortSignal): Promise<readonly Endpoint[]> {
    const domain = this.#options.discoverySrv;
    const causes: string[] = [];
    for (const [scheme, service] of SRV_NAMES) {
      // Whoever gave certificates does not want a name server to talk the connection out of TLS.
      if (scheme === "http" && this.#tlsGiven) continue;
      try {
        const question = this.#resolver.resolveSrv(`${service}.${domain}`);
        const records = await this.#within(question, signal);
        const sorted = records.toSorted((a, b) => a.priority - b.priority || b.weight - a.weight);
        this.#discovered = sorted.map(({ name, port }) =>
          endpointOf(scheme === "https", name.replace(/\.$/, ""), port),
        );
        if (sorted.length > 0) return this.#discovered;
        causes.push(`${service}.${domain}: no records`);
      } catch (error) {
        signal.throwIfAborted();
        causes.push(`${service}.${domain}: ${codeOf(error)}`);
      }
    }
    if (this.#discovered.length > 0) return this.#discovered;
    const message = `cannot find etcd by SRV records of ${domain}: ${causes.join(", ")}; check --etcd-discovery-srv`;
    throw new StoreError("unreachable", domain, message);
  }

  async #resolve({ host, url }: Endpoint, signal: AbortSignal): Promise<readonly LookupAddress[]> {
    const family = isIP(host);
    if (family !== 0) return [{ address: host, family }];
    // A question that outlasts one attempt (a name server that is down costs 5 s) serves the next one.
    const question = this.#asked.get(host) ?? this.#resolver.lookup(host);
    this.#asked.set(host, question);
    const forget = () => this.#asked.delete(host);
    question.then(forget, forget);
    try {
      const addresses = await this.#within(question, signal);
      if (addresses.length === 0) throw new Error("no address");
      this.#known.set(host, addresses);
      return addresses;
    } catch (error) {
      signal.throwIfAborted();
      const known = this.#known.get(host);
      if (known) return known;
      const cause = `host name ${host} does not resolve (${codeOf(error)}); check --etcd-endpoints and the name server`;
      throw new StoreError("unreachable", url, `cannot reach etcd at ${url}: ${cause}`, { cause: error });
    }
  }

  /** The answer of a name server, which is given the time of a request. */
  #within<T>(answer: Promise<T>, signal: AbortSignal): Promise<T> {
    const { requestMs } = this.#options.timing;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no answer within ${requestMs / 1000} s`)), requestMs);
      const abort = () => reject(signal.reason);
      signal.addEventListener("abort", abort);
      if (signal.aborted) abort();
      answer.then(resolve, reject).finally(() => {
        clearTimeout(timer);
        signal.removeEventListener("abort", abort);
      });
    });
  }
}

function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return "code" in error ? String(error.code) : error.message;
}

/** Several causes as one: what is out of reach is worth another try if any of them is. */
function together(failures: readonly StoreError[], description: string): StoreError {
  const [first] = failures;
  if (!first) return new StoreError("invalid", description, "cannot reach etcd: no endpoint; give --etcd-endpoints");
  if (failures.length === 1) return first;
  const best = failures.find(({ reason }) => reason === "unreachable") ?? first;
  const message = failures.map((failure) => failure.message).join("; ");
  return new StoreError(best.reason, description, message, { cause: failures });
}
