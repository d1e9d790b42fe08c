// Which life of a cluster an answer of etcd v3 is from, and points in it. A cluster that lost its data and was set up anew
// can have the id of the one before (the id is made from the members' names and addresses), but its revision and its raft
// term start again: in one life neither ever goes back for reads that the members agreed on (linearizable ones). One that
// others use as well may have grown past both meanwhile; so a key that is written once, the network's configuration, is
// looked at too: in one life it is created once, in another seldom at the same revision; who creates it anew by hand does no
// harm.

import type { RegistryEntry, Revision } from "../registry.ts";
import type { KeyValue, ResponseHeader } from "./rpc.gen.ts";

/** What was known before a request was made. */
export interface Mark {
  readonly life: number;
  readonly revision: bigint;
  readonly term: bigint;
}

/** A Revision taken apart. */
export interface Point {
  readonly history: string;
  readonly revision: bigint;
  /** The etcd lease of an entry, 0 without. */
  readonly lease: bigint;
}

export class History {
  #cluster: bigint | undefined;
  #life = 0;
  #revision = 0n;
  #term = 0n;
  /** Revision that created the configuration. */
  #born: bigint | undefined;

  /** To be taken before a request; compared with what it answers. */
  mark(): Mark {
    return { life: this.#life, revision: this.#revision, term: this.#term };
  }

  /** Of a linearizable answer to a request made at `mark`; gives its history. */
  read(header: ResponseHeader | undefined, mark: Mark): string {
    const { clusterId = 0n, revision = 0n, raftTerm = 0n } = header ?? {};
    if (this.#cluster !== undefined && clusterId !== this.#cluster) {
      this.#begin();
    } else if (mark.life === this.#life && (revision < mark.revision || raftTerm < mark.term)) {
      this.#begin();
    }
    this.#cluster = clusterId;
    if (revision > this.#revision) this.#revision = revision;
    if (raftTerm > this.#term) this.#term = raftTerm;
    return this.#text(clusterId);
  }

  /** When the configuration was created, undefined if there is none now; gives the history, as `read` does. */
  born(revision: bigint | undefined): string {
    if (revision !== undefined && this.#born !== undefined && revision !== this.#born) this.#begin();
    this.#born = revision ?? this.#born;
    return this.text;
  }

  /** The history as it is known now. */
  get text(): string {
    return this.#text(this.#cluster ?? 0n);
  }

  /** Why `point` is not of the store that sent `header`; undefined when it may be. */
  departure(point: Point, header: ResponseHeader | undefined): string | undefined {
    const { clusterId = 0n, revision = 0n } = header ?? {};
    const [cluster] = point.history.split(".");
    if (cluster !== clusterId.toString(16)) return "it is another cluster";
    if (point.history !== this.#text(clusterId) || revision < point.revision) return "its data was lost or replaced";
    return undefined;
  }

  #begin(): void {
    this.#life++;
    this.#revision = 0n;
    this.#term = 0n;
    this.#born = undefined;
  }

  #text(cluster: bigint): string {
    return `${cluster.toString(16)}.${this.#life}`;
  }
}

export function formatPoint({ history, revision, lease }: Point): Revision {
  return `${history}:${revision}${lease === 0n ? "" : `:${lease.toString(16)}`}` as Revision;
}

/** undefined for a revision that is not etcd v3's. */
export function parsePoint(text: Revision): Point | undefined {
  const match = /^([0-9a-f]+\.\d+):(\d+)(?::([0-9a-f]+))?$/.exec(text);
  if (!match) return undefined;
  return { history: match[1] ?? "", revision: BigInt(match[2] ?? 0), lease: BigInt(`0x${match[3] ?? "0"}`) };
}

const decoder = new TextDecoder();

export function entryOf(kv: KeyValue, history: string, directory: string): RegistryEntry {
  return {
    key: decoder.decode(kv.key).slice(directory.length),
    value: decoder.decode(kv.value),
    reserved: kv.lease === 0n,
    // Only a request for each lease would tell: see Etcd3Registry.expiry.
    expiresAt: undefined,
    revision: formatPoint({ history, revision: kv.modRevision, lease: kv.lease }),
  };
}
