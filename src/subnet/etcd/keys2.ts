// Requests to /v2/keys of etcd's v2 API below one prefix, and which life of the store they were answered from: another
// cluster, or a history that went back.
//
// All reads are with quorum=true and therefore linear: one that begins after an answer was seen is answered from no earlier
// point, so an index (or raft term) below that of an answer from before it began means that the store lost its data. The cluster
// id does not show this: it is made of the members' URLs and token. Nor does an index that has passed the old one since: then
// the directory of leases tells, which is missing or was made at another index. (Whoever removes it as a whole looks like a
// loss as well, which does no harm: each node writes its lease again.)

import type { Revision } from "../registry.ts";
import { StoreError } from "../store_error.ts";
import { type Asked, ERROR2, type Outcome2, outcomeOf, type Position2 } from "./answer2.ts";
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

/** At which index the directory of leases was made; undefined where it is not known. */
type Directory = number | "missing" | undefined;

export class Keys2 {
  readonly http: EtcdHttp;
  readonly prefix: string;
  /** A proxy stands between that passes an answer on only when it is complete (watch2.ts). */
  streamsAreHeldBack = false;
  readonly #username: string;
  #seen: Position2 | undefined;
  #directory: Directory;
  #confirmKey: string;
  /** How often the store was found to have another history. */
  #life = 0;

  constructor(http: EtcdHttp, prefix: string, username: string) {
    this.http = http;
    const names = prefix.split("/").filter(Boolean);
    this.prefix = names.map((name) => `/${name}`).join("");
    this.#username = username;
    this.#confirmKey = this.prefix;
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
      const directory = this.#directoryOf(key, outcome);
      return { ...outcome, history: this.#note(outcome.position, before, directory) };
    } catch (error) {
      throw error instanceof SilenceError ? await this.#explained(error, signal) : error;
    }
  }

  /** Like `indexOf`, once the store was asked whether it is still the one it was. */
  async confirm(since: Revision, signal: AbortSignal): Promise<ReturnType<Keys2["indexOf"]>> {
    // The list below the prefix is short; who is let at `<prefix>/*` alone has to read that of the leases.
    try {
      await this.ask({ verb: "read", key: this.#confirmKey }, signal);
    } catch (error) {
      if (!(error instanceof StoreError && error.reason === "denied") || this.#confirmKey === this.leasesKey)
        throw error;
      this.#confirmKey = this.leasesKey;
      await this.ask({ verb: "read", key: this.#confirmKey }, signal);
    }
    return this.indexOf(since);
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

  /** `before`: what was seen when the request began, which answers that came in the meantime may have passed. */
  #note(position: Position2, before: Position2 | undefined, directory: Directory): string {
    const { cluster, index, term } = position;
    const seen = this.#seen;
    const wentBack = before?.cluster === cluster && (index < before.index || (term > 0 && term < before.term));
    const another = seen !== undefined && seen.cluster !== cluster;
    const remade = typeof this.#directory === "number" && directory !== undefined && directory !== this.#directory;
    // Of several requests that find it out the first counts it.
    const lost = another || remade || (wentBack && before === seen);
    if (lost) this.#life++;
    if (lost || !seen) {
      this.#seen = position;
      this.#directory = directory;
    } else if (!wentBack) {
      if (index > seen.index || term > seen.term) {
        this.#seen = { cluster, index: Math.max(index, seen.index), term: Math.max(term, seen.term) };
      }
      this.#directory = directory ?? this.#directory;
    }
    return `${cluster}.${this.#life}`;
  }

  #directoryOf(asked: string, outcome: Outcome2): Directory {
    if (asked !== this.leasesKey && asked !== this.prefix) return undefined;
    if (outcome.kind === "not done") return outcome.code === ERROR2.keyNotFound ? "missing" : undefined;
    const { node } = outcome.event;
    const found = asked === this.leasesKey ? node : node.nodes?.find(({ key }) => key === this.leasesKey);
    return found ? found.createdIndex : "missing";
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
