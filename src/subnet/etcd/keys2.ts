// Requests to /v2/keys of etcd's v2 API below one prefix, and which life of the store they were answered from: another
// cluster, or a history that went back.
//
// All reads are with quorum=true and therefore linear: one that begins after an answer was seen is answered from no earlier
// point, so an index (or raft term) below that of an answer from before it began means that the store lost its data. The cluster
// id does not show this: it is made of the members' URLs and token.

import type { Revision } from "../registry.ts";
import { StoreError } from "../store_error.ts";
import { type Asked, type Outcome2, outcomeOf, type Position2 } from "./answer2.ts";
import { type EtcdHttp, type HttpRequest, SilenceError } from "./http.ts";

/** An answer, and the history it belongs to. */
export type Known2 = Outcome2 & { readonly history: string };

export interface Question {
  /** For messages: "read". */
  readonly verb: string;
  /** Absolute. */
  readonly key: string;
  readonly method?: HttpRequest["method"];
  readonly query?: Readonly<Record<string, string>>;
  readonly form?: Readonly<Record<string, string>>;
}

export class Keys2 {
  readonly http: EtcdHttp;
  readonly prefix: string;
  readonly #username: string;
  #seen: Position2 | undefined;
  /** How often the store was found to have another history. */
  #life = 0;

  constructor(http: EtcdHttp, prefix: string, username: string) {
    this.http = http;
    this.prefix = `/${prefix.split("/").filter(Boolean).join("/")}`;
    this.#username = username;
  }

  get configKey(): string {
    return `${this.prefix}/config`;
  }

  get leasesKey(): string {
    return `${this.prefix}/subnets`;
  }

  leaseKey(key: string): string {
    return `${this.leasesKey}/${key}`;
  }

  asked(verb: string, key: string): Asked {
    return { what: `${verb} ${key} in etcd`, username: this.#username };
  }

  /** Reads with quorum, or writes. */
  async ask({ verb, key, method = "GET", query = {}, form }: Question, signal: AbortSignal): Promise<Known2> {
    const before = this.#seen;
    const path = keyPath(key, method === "GET" ? { quorum: "true", ...query } : query);
    try {
      const answer = await this.http.ask({ method, path, ...(form ? { form } : {}) }, signal);
      const outcome = outcomeOf(answer, this.asked(verb, key));
      return { ...outcome, history: this.#note(outcome.position, before) };
    } catch (error) {
      throw error instanceof SilenceError ? await this.#explained(error, signal) : error;
    }
  }

  /** The index that `since` stands for; throws "compacted" when it is of another history than the store's. */
  indexOf(since: Revision): { readonly cluster: string; readonly index: number; readonly history: string } {
    const match = /^(([0-9a-f]+)\.\d+):(\d+)/.exec(since);
    const [, history = "", cluster = "", index = ""] = match ?? [];
    const current = this.#seen ? `${this.#seen.cluster}.${this.#life}` : history;
    if (match && history === current) return { cluster, index: Number(index), history };
    const text = `cannot go on from ${since} in etcd: it holds another history now (${current}); read it again`;
    throw new StoreError("compacted", this.http.description, text);
  }

  /** A member that answers nothing which takes a quorum may still tell that there is none. */
  async #explained(silence: SilenceError, signal: AbortSignal): Promise<StoreError> {
    const { url } = silence.target.endpoint;
    const limit = AbortSignal.any([signal, AbortSignal.timeout(this.http.timing.connectMs)]);
    const asked = await this.http
      .ask({ method: "GET", path: LEADER_PATH }, limit, silence.target)
      .catch(() => undefined);
    signal.throwIfAborted();
    if (asked?.status !== 503) return silence;
    const text = `${silence.message}: the cluster has no leader; bring a majority of its members back`;
    return new StoreError("unreachable", url, text, { cause: silence });
  }

  #note(position: Position2, before: Position2 | undefined): string {
    const { cluster, index, term } = position;
    const wentBack = before?.cluster === cluster && (index < before.index || (term > 0 && term < before.term));
    // Several requests may find out; one of them counts it.
    if (this.#seen && (this.#seen.cluster !== cluster || (wentBack && before === this.#seen))) this.#life++;
    const goesOn = this.#seen?.cluster === cluster && !wentBack ? this.#seen : undefined;
    if (!goesOn || index > goesOn.index || term > goesOn.term) {
      this.#seen = { cluster, index: Math.max(index, goesOn?.index ?? 0), term: Math.max(term, goesOn?.term ?? 0) };
    }
    return `${cluster}.${this.#life}`;
  }
}

/** Answers 503 when the member knows of no leader; local, cheap, and open to everybody. */
export const LEADER_PATH = "/v2/members/leader";

/** "&" and ":" of a dual-stack key must not be taken for the query's or the port's. */
export function keyPath(key: string, query: Readonly<Record<string, string>>): string {
  const path = key.split("/").map(encodeURIComponent).join("/");
  const search = new URLSearchParams(query).toString();
  return `/v2/keys${path}${search === "" ? "" : `?${search}`}`;
}

export function formatRevision(history: string, index: number): Revision {
  return `${history}:${index}` as Revision;
}
