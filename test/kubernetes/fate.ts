// What can happen to the cluster of a test, by word.

/** What a test can do to the cluster. */
export interface Fate {
  /** Server i ends: all at once, or as one that is asked to. */
  readonly stop: { readonly server: number; readonly crash: boolean };
  readonly start: { readonly server: number };
  /** The history of changes is forgotten. */
  readonly compact: object;
  /** As etcd after a backup was read back: what is there stays, versions begin again at `version`, and watches break. */
  readonly restore: { readonly version: number };
  readonly endWatches: object;
  /** Requests of these verbs are refused to flannel. */
  readonly forbid: { readonly verbs: readonly string[] };
  readonly overload: { readonly code: number };
  /** These tokens hold from now on, and no others. */
  readonly tokens: Readonly<Record<string, string>>;
  /** Nodes made-FROM and so on, of so many bytes each, spread over so many milliseconds. */
  readonly fill: { readonly from: number; readonly count: number; readonly bytes: number; readonly overMs: number };
  /** Nodes made-FROM and so on report that they are well, each once in `everyMs`; 0 ends it. */
  readonly heartbeats: { readonly from: number; readonly count: number; readonly everyMs: number };
  /** The requests since the last time this was asked. */
  readonly asked: object;
}
