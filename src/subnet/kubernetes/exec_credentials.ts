// Credentials from a program that the kubeconfig names (client.authentication.k8s.io, v1 and v1beta1): it prints an ExecCredential, which is kept until it
// ends or the server refuses it.

import type { Fault } from "../../config/fault.ts";
import { isJsonObject, quote } from "../../config/json_fields.ts";
import { StoreError } from "../store_error.ts";
import type { CredentialSource, Credentials } from "./access.ts";

export interface ExecPlugin {
  readonly apiVersion: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  /** What to do when the program is not there. */
  readonly installHint: string;
  /** It wants to be told of the cluster (provideClusterInfo). */
  readonly wantsCluster: boolean;
}

const API_VERSIONS = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];
/** A program that asks a cloud takes seconds; one that asks a person would wait for ever. */
const TIME_LIMIT_MS = 30_000;
/** New ones are asked for this long before the old ones end. */
const AHEAD_MS = 10_000;

/** Reads `user.exec`; adds what is wrong to `faults`. */
export function readExec(raw: unknown, where: (field: string) => string, faults: Fault[]): ExecPlugin | undefined {
  const exec = isJsonObject(raw) ? raw : {};
  const { apiVersion, command, args, env, installHint } = exec;
  const before = faults.length;
  if (typeof apiVersion !== "string" || !API_VERSIONS.includes(apiVersion)) {
    faults.push({ where: where("apiVersion"), got: quote(apiVersion), want: API_VERSIONS.join(" or ") });
  }
  if (typeof command !== "string" || command === "") {
    faults.push({ where: where("command"), got: quote(command), want: "a program" });
  }
  if (exec.interactiveMode === "Always") {
    faults.push({ where: where("interactiveMode"), got: '"Always"', want: "a program that asks nobody" });
  }
  if (faults.length > before) return undefined;
  const pairs = (Array.isArray(env) ? (env as unknown[]) : [])
    .filter(isJsonObject)
    .map(({ name, value }) => [String(name), String(value)] as const);
  return {
    apiVersion: String(apiVersion),
    command: String(command),
    args: Array.isArray(args) ? args.map(String) : [],
    environment: Object.fromEntries(pairs),
    installHint: typeof installHint === "string" ? installHint : "",
    wantsCluster: exec.provideClusterInfo === true,
  };
}

export class ExecCredentials implements CredentialSource {
  readonly #plugin: ExecPlugin;
  readonly #fixed: () => Credentials;
  readonly #cluster: () => object;
  #kept: { readonly credentials: Credentials; readonly endsAt: number } | undefined;
  #running: Promise<Credentials> | undefined;

  /** `fixed`: what the kubeconfig has besides. `cluster`: spec.cluster of what the program is told. */
  constructor(plugin: ExecPlugin, fixed: () => Credentials, cluster: () => object) {
    this.#plugin = plugin;
    this.#fixed = fixed;
    this.#cluster = cluster;
  }

  async current(signal: AbortSignal): Promise<Credentials> {
    signal.throwIfAborted();
    if (this.#kept && Date.now() < this.#kept.endsAt - AHEAD_MS) return this.#kept.credentials;
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
    return await this.#running;
  }

  refused(): void {
    this.#kept = undefined;
  }

  async #run(): Promise<Credentials> {
    const { command, args, apiVersion, environment, wantsCluster } = this.#plugin;
    const spec = { interactive: false, ...(wantsCluster && { cluster: this.#cluster() }) };
    const info = { kind: "ExecCredential", apiVersion, spec };
    let output: string;
    try {
      const child = Bun.spawn([command, ...args], {
        env: { ...process.env, ...environment, KUBERNETES_EXEC_INFO: JSON.stringify(info) },
        stdin: "ignore",
        stdout: "pipe",
        stderr: "pipe",
        timeout: TIME_LIMIT_MS,
        killSignal: "SIGKILL",
      });
      const [out, err, code] = await Promise.all([
        new Response(child.stdout).text(),
        new Response(child.stderr).text(),
        child.exited,
      ]);
      if (code !== 0) throw this.#failure(`exit ${code}${err.trim() === "" ? "" : `: ${err.trim().slice(-300)}`}`);
      output = out;
    } catch (error) {
      if (error instanceof StoreError) throw error;
      const { installHint } = this.#plugin;
      const reason = error instanceof Error && "code" in error ? String(error.code) : String(error);
      throw this.#failure(`${reason}${installHint === "" ? "" : `; ${installHint.trim()}`}`);
    }
    return this.#take(output);
  }

  #take(output: string): Credentials {
    let printed: unknown;
    try {
      printed = JSON.parse(output);
    } catch {
      throw this.#failure("it printed no JSON; want an ExecCredential");
    }
    const status = isJsonObject(printed) && isJsonObject(printed.status) ? printed.status : undefined;
    if (!status) throw this.#failure("what it printed has no status; want an ExecCredential");
    const { token, clientCertificateData, clientKeyData, expirationTimestamp } = status;
    const credentials: Credentials = {
      ...this.#fixed(),
      ...(typeof token === "string" && { token: token.trim() }),
      ...(typeof clientCertificateData === "string" && { certificate: clientCertificateData }),
      ...(typeof clientKeyData === "string" && { key: clientKeyData }),
    };
    const endsAt = typeof expirationTimestamp === "string" ? Date.parse(expirationTimestamp) : Number.POSITIVE_INFINITY;
    this.#kept = { credentials, endsAt: Number.isNaN(endsAt) ? Number.POSITIVE_INFINITY : endsAt };
    return credentials;
  }

  #failure(cause: string): StoreError {
    const { command } = this.#plugin;
    return new StoreError("denied", command, `cannot get credentials from ${command}: ${cause}`);
  }
}
