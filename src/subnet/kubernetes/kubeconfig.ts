// A kubeconfig (client.authentication.k8s.io and the Config kind of client-go, v1): the current context's cluster and user. Paths in it are relative to the
// file. What is not understood is named, not passed over: a user that flannel cannot be is a fault, since it would be nobody in particular otherwise.

import { dirname, isAbsolute, join } from "node:path";
import { ConfigError, type Fault } from "../../config/fault.ts";
import { isJsonObject, quote } from "../../config/json_fields.ts";
import {
  type ClusterAccess,
  type CredentialSource,
  type Credentials,
  proxyFor,
  readText,
  TokenFile,
} from "./access.ts";
import { ExecCredentials, readExec } from "./exec_credentials.ts";

type Fields = Readonly<Record<string, unknown>>;

/** Throws ConfigError naming every fault, StoreError when the file cannot be read. */
export function readKubeconfig(path: string, environment: Readonly<Record<string, string | undefined>>): ClusterAccess {
  let config: unknown;
  try {
    config = Bun.YAML.parse(readText(path));
  } catch (error) {
    if (error instanceof SyntaxError) {
      throw new ConfigError([{ where: path, got: `a text that is no YAML (${error.message})`, want: "a kubeconfig" }]);
    }
    throw error;
  }
  if (!isJsonObject(config)) throw new ConfigError([{ where: path, got: quote(config), want: "a kubeconfig" }]);
  return new Reading(path, config, environment).access();
}

class Reading {
  readonly #path: string;
  readonly #config: Fields;
  readonly #environment: Readonly<Record<string, string | undefined>>;
  readonly #faults: Fault[] = [];

  constructor(path: string, config: Fields, environment: Readonly<Record<string, string | undefined>>) {
    this.#path = path;
    this.#config = config;
    this.#environment = environment;
  }

  access(): ClusterAccess {
    const name = this.#text(this.#config, "current-context", "");
    const context = this.#named("contexts", "context", name, "current-context");
    const cluster = this.#named(
      "clusters",
      "cluster",
      this.#text(context, "cluster", `contexts[${name}].context.`),
      `context ${name}: cluster`,
    );
    const userName = context.user === undefined ? "" : this.#text(context, "user", `contexts[${name}].context.`);
    const user = userName === "" ? {} : this.#named("users", "user", userName, `context ${name}: user`);
    const at = "clusters: cluster.";
    const server = this.#text(cluster, "server", at).replace(/\/+$/, "");
    if (server !== "" && !/^https?:\/\/[^/]+/.test(server)) {
      this.#faults.push({
        where: this.#where(`${at}server`),
        got: quote(server),
        want: "a URL such as https://192.0.2.1:6443",
      });
    }
    const ca = this.#pem(cluster, "certificate-authority", at);
    const proxyUrl = cluster["proxy-url"];
    const serverName = cluster["tls-server-name"];
    const clusterInfo = () => ({
      server,
      ...(typeof serverName === "string" && serverName !== "" && { "tls-server-name": serverName }),
      ...(cluster["insecure-skip-tls-verify"] === true && { "insecure-skip-tls-verify": true }),
      ...(ca && { "certificate-authority-data": Buffer.from(ca()).toString("base64") }),
      ...(typeof proxyUrl === "string" && proxyUrl !== "" && { "proxy-url": proxyUrl }),
    });
    const credentials = this.#credentials(user, clusterInfo);
    if (this.#faults.length > 0) throw new ConfigError(this.#faults);
    return {
      server,
      proxy: typeof proxyUrl === "string" && proxyUrl !== "" ? proxyUrl : proxyFor(server, this.#environment),
      source: `${this.#path}, context ${name}`,
      tls: {
        ca,
        serverName: typeof serverName === "string" && serverName !== "" ? serverName : undefined,
        insecure: cluster["insecure-skip-tls-verify"] === true,
      },
      credentials,
    };
  }

  #credentials(user: Fields, cluster: () => object): CredentialSource {
    const at = "users: user.";
    const certificate = this.#pem(user, "client-certificate", at);
    const key = this.#pem(user, "client-key", at);
    for (const [given, missing] of [
      [certificate && "client-certificate", !key && "client-key"],
      [key && "client-key", !certificate && "client-certificate"],
    ]) {
      if (given && missing)
        this.#faults.push({ where: this.#where(`${at}${given}`), got: `it without ${missing}`, want: "both" });
    }
    for (const field of ["as", "as-uid", "as-groups", "as-user-extra"].filter((name) => user[name] !== undefined)) {
      this.#faults.push({
        where: this.#where(`${at}${field}`),
        got: quote(user[field]),
        want: "nothing: flanneld is itself, and impersonates nobody",
      });
    }
    if (user["auth-provider"] !== undefined) {
      this.#faults.push({
        where: this.#where(`${at}auth-provider`),
        got: "an auth-provider",
        want: "an exec plugin, a token or a client certificate: Kubernetes 1.26 has removed auth-provider",
      });
    }
    const pair = (): Credentials => (certificate && key ? { certificate: certificate(), key: key() } : {});
    if (user.exec !== undefined) {
      const exec = readExec(user.exec, (field) => this.#where(`${at}exec.${field}`), this.#faults);
      if (exec) return new ExecCredentials({ ...exec, command: this.#program(exec.command) }, pair, cluster);
      return { current: async () => ({}), refused: () => {} };
    }
    const { token, tokenFile, username, password } = user;
    if (typeof tokenFile === "string" && tokenFile !== "") {
      const file = new TokenFile(this.#resolve(tokenFile));
      return { current: async () => ({ ...pair(), ...(await file.current()) }), refused: () => file.refused() };
    }
    const fixed: Credentials = {
      ...(typeof token === "string" && token !== "" && { token }),
      ...(typeof username === "string" && typeof password === "string" && { username, password }),
    };
    return { current: async () => ({ ...pair(), ...fixed }), refused: () => {} };
  }

  /** `<name>-data` in base64, else the file that `<name>` names, read whenever it is asked for. */
  #pem(fields: Fields, name: string, at: string): (() => string) | undefined {
    const data = fields[`${name}-data`];
    if (typeof data === "string" && data !== "") {
      const text = Buffer.from(data, "base64").toString();
      if (text.includes("-----BEGIN ")) return () => text;
      this.#faults.push({
        where: this.#where(`${at}${name}-data`),
        got: "something else",
        want: "a PEM text in base64",
      });
      return undefined;
    }
    const path = fields[name];
    return typeof path === "string" && path !== "" ? () => readText(this.#resolve(path)) : undefined;
  }

  #named(list: string, member: string, name: string, wantedBy: string): Fields {
    if (name === "") return {};
    const all = this.#config[list];
    const names: string[] = [];
    for (const entry of Array.isArray(all) ? (all as unknown[]) : []) {
      if (!isJsonObject(entry)) continue;
      const value = entry[member];
      if (entry.name === name && isJsonObject(value)) return value;
      if (typeof entry.name === "string") names.push(entry.name);
    }
    const want =
      names.length > 0 ? `one of its ${list}: ${names.join(", ")}` : `one of its ${list}, of which there are none`;
    this.#faults.push({ where: this.#where(wantedBy), got: quote(name), want });
    return {};
  }

  #text(fields: Fields, name: string, at: string): string {
    const value = fields[name];
    if (typeof value === "string" && value !== "") return value;
    if (Object.keys(fields).length > 0 || at === "") {
      this.#faults.push({
        where: this.#where(`${at}${name}`),
        got: value === undefined ? undefined : quote(value),
        want: "a text",
      });
    }
    return "";
  }

  /** A name without a slash is looked for in PATH, as client-go does. */
  #program(command: string): string {
    return command.includes("/") ? this.#resolve(command) : command;
  }

  #resolve(path: string): string {
    return isAbsolute(path) ? path : join(dirname(this.#path), path);
  }

  #where(field: string): string {
    return `${this.#path}: ${field}`;
  }
}
