// Whole Nodes that have to be read one by one, since the watch tells their metadata alone: a few at once, the others in the order in which they were asked for.

/** As many requests as one HTTP/2 connection carries without holding up others of this node. */
const AT_ONCE = 8;

export class NodeReads {
  readonly #read: (name: string) => Promise<void>;
  readonly #waiting = new Set<string>();
  readonly #reading = new Set<string>();
  readonly #failed = Promise.withResolvers<never>();

  /** `read` reads one and takes it in; what it throws is told by `failed`. */
  constructor(read: (name: string) => Promise<void>) {
    this.#read = read;
    this.#failed.promise.catch(() => {});
  }

  /** Never resolves. */
  get failed(): Promise<never> {
    return this.#failed.promise;
  }

  /** Once more when it is asked for while it is read. */
  want(name: string): void {
    this.#waiting.add(name);
    this.#next();
  }

  #next(): void {
    for (const name of this.#waiting) {
      if (this.#reading.size >= AT_ONCE) return;
      if (this.#reading.has(name)) continue;
      this.#waiting.delete(name);
      this.#reading.add(name);
      void this.#one(name);
    }
  }

  async #one(name: string): Promise<void> {
    try {
      await this.#read(name);
    } catch (error) {
      this.#failed.reject(error);
    } finally {
      this.#reading.delete(name);
      this.#next();
    }
  }
}
