// Joins what pushes (a connection) to what pulls (an async iterator): items gather until they are taken, all at once, so
// whoever is slow gets one large batch instead of many small ones.

export class Inbox<T> {
  #items: T[] = [];
  #failure: { readonly error: unknown } | undefined;
  #ended = false;
  #wake = Promise.withResolvers<void>();

  push(...items: readonly T[]): void {
    if (items.length === 0) return;
    for (const item of items) this.#items.push(item);
    this.#wake.resolve();
  }

  /** Nothing more comes. */
  end(): void {
    this.#ended = true;
    this.#wake.resolve();
  }

  /** Nothing more comes, because of `error`; what came before is still taken first. */
  fail(error: unknown): void {
    this.#failure ??= { error };
    this.#wake.resolve();
  }

  /** Resolves when `take` has something to tell. */
  filled(): Promise<void> {
    return this.#wake.promise;
  }

  /** What came since it was last called; "ended" at the end. Throws what `fail` was told. */
  take(): readonly T[] | "ended" {
    const items = this.#items;
    const over = this.#failure !== undefined || this.#ended;
    if (items.length === 0 && this.#failure) throw this.#failure.error;
    if (items.length === 0 && this.#ended) return "ended";
    this.#items = [];
    if (!over) this.#wake = Promise.withResolvers();
    return items;
  }
}
