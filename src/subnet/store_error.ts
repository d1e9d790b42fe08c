// What can go wrong with a store, told apart by what the caller can do about it.

export type StoreReason = "unreachable" | "conflict" | "compacted" | "denied" | "absent" | "full" | "invalid";

export class StoreError extends Error {
  readonly reason: StoreReason;
  readonly endpoint: string;
  /** The store asks to be left alone for so long. */
  readonly retryAfterMs: number;

  constructor(
    reason: StoreReason,
    endpoint: string,
    message: string,
    options: ErrorOptions & { readonly retryAfterMs?: number } = {},
  ) {
    super(message, options);
    this.name = "StoreError";
    this.reason = reason;
    this.endpoint = endpoint;
    this.retryAfterMs = options.retryAfterMs ?? 0;
  }
}
