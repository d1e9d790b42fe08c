// How the API server is reached and who we are there: from a kubeconfig, from a pod's service account, or a bare URL. What a file or a program gives anew
// (tokens are renewed every hour, certificates now and then) is asked for by each new connection or request, never kept for good.

import { readFileSync, statSync } from "node:fs";
import { parseAddress } from "../../ip/address.ts";
import { containsAddress, parsePrefix } from "../../ip/prefix.ts";
import { StoreError } from "../store_error.ts";

export interface ClusterAccess {
  /** Origin and path, without a slash at the end: "https://10.96.0.1:443". */
  readonly server: string;
  /** Of a proxy on the way; undefined for none. */
  readonly proxy: string | undefined;
  /** Where this was read, for messages: "/etc/kubernetes/kubelet.conf, context default". */
  readonly source: string;
  readonly tls: TlsAccess;
  readonly credentials: CredentialSource;
}

export interface TlsAccess {
  /** PEM texts of the authorities; undefined for the system's. Read anew for each connection. */
  readonly ca: (() => string) | undefined;
  /** In place of the host's name, in the certificate. */
  readonly serverName: string | undefined;
  /** The kubeconfig says insecure-skip-tls-verify: true. */
  readonly insecure: boolean;
}

export interface Credentials {
  readonly token?: string;
  readonly username?: string;
  readonly password?: string;
  /** PEM texts of a client certificate and its key. */
  readonly certificate?: string;
  readonly key?: string;
}

export interface CredentialSource {
  /** Throws StoreError. */
  current(signal: AbortSignal): Promise<Credentials>;
  /** The server refused them: whatever was kept is asked for anew. */
  refused(): void;
}

const SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount";

/** A pod's own account (Kubernetes' "Accessing the API from a Pod"); undefined outside of a pod. */
export function podAccess(
  environment: Readonly<Record<string, string | undefined>>,
  directory = SERVICE_ACCOUNT,
): ClusterAccess | undefined {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port } = environment;
  if (!host || !port) return undefined;
  const server = `https://${host.includes(":") ? `[${host}]` : host}:${port}`;
  return {
    server,
    proxy: proxyFor(server, environment),
    source: "this pod's service account",
    tls: { ca: () => readText(`${directory}/ca.crt`), serverName: undefined, insecure: false },
    credentials: new TokenFile(`${directory}/token`),
  };
}

/** A URL alone: nobody in particular, at a server whose certificate the system knows. */
export function urlAccess(url: string, environment: Readonly<Record<string, string | undefined>>): ClusterAccess {
  const server = url.replace(/\/+$/, "");
  if (!/^https?:\/\/[^/]+/.test(server)) {
    throw new StoreError(
      "invalid",
      url,
      `cannot use --kube-api-url: got ${JSON.stringify(url)}, want http(s)://host:port`,
    );
  }
  return {
    server,
    proxy: proxyFor(server, environment),
    source: "--kube-api-url",
    tls: { ca: undefined, serverName: undefined, insecure: false },
    credentials: { current: async () => ({}), refused: () => {} },
  };
}

/** A token in a file that somebody else writes anew before it ends, as kubelet does for service accounts. */
export class TokenFile implements CredentialSource {
  readonly #path: string;
  #read: { readonly stamp: string; readonly token: string } | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  async current(): Promise<Credentials> {
    const stamp = this.#stamp();
    if (this.#read?.stamp !== stamp) this.#read = { stamp, token: readText(this.#path).trim() };
    return { token: this.#read.token };
  }

  refused(): void {
    this.#read = undefined;
  }

  #stamp(): string {
    const found = statSync(this.#path, { bigint: true, throwIfNoEntry: false });
    return found ? `${found.ino}:${found.mtimeNs}:${found.size}` : "missing";
  }
}

/** Throws StoreError naming the file. */
export function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
    const reason = code === "EACCES" || code === "EPERM" ? "denied" : "invalid";
    const cause = code === "ENOENT" ? "ENOENT (no such file)" : code;
    throw new StoreError(reason, path, `cannot read ${path}: ${cause}`, { cause: error });
  }
}

/** The proxy that the environment names for a server: HTTPS_PROXY or HTTP_PROXY, unless NO_PROXY names its host. */
export function proxyFor(
  server: string,
  environment: Readonly<Record<string, string | undefined>>,
): string | undefined {
  const of = (name: string) => environment[name] || environment[name.toLowerCase()] || undefined;
  const proxy = server.startsWith("https:") ? of("HTTPS_PROXY") : of("HTTP_PROXY");
  if (!proxy) return undefined;
  const { hostname, port, protocol } = new URL(server);
  const host = hostname.replace(/^\[|\]$/g, "");
  if (host === "localhost" || host.startsWith("127.") || host === "::1") return undefined;
  const used = port || (protocol === "https:" ? "443" : "80");
  const excluded = (of("NO_PROXY") ?? "").split(",").some((entry) => isExcluded(host, used, entry.trim()));
  return excluded ? undefined : proxy.includes("://") ? proxy : `http://${proxy}`;
}

/** "*", a domain and what is below it (with a dot before it only that), an address, or a network; as Go's programs read them. */
function isExcluded(host: string, port: string, entry: string): boolean {
  if (entry === "" || entry === "*") return entry === "*";
  const [network, address] = [parsePrefix(entry), parseAddress(host)];
  if (network) return address !== undefined && containsAddress(network, address);
  const [, named = entry, wantedPort] = /^(\[.*\]|[^:]*)(?::(\d+))?$/.exec(entry) ?? [];
  if (wantedPort !== undefined && wantedPort !== port) return false;
  const name = named.replace(/^\[|\]$/g, "").toLowerCase();
  return host === name || host.endsWith(name.startsWith(".") ? name : `.${name}`);
}
