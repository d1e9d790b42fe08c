// What an operator says of the own Node's public IP, told to whoever follows it: by whichever way the Node was learned of last, a read, a patch's answer or the watch.

import type { Address } from "../../ip/address.ts";
import type { PerFamily } from "../../ip/family.ts";
import { type Annotations, wishedPublicIp } from "./annotations.ts";

export type Wish = PerFamily<Address> | string;

export class Wishes {
  #latest: Wish = {};
  #changed = Promise.withResolvers<void>();

  learn(annotations: Annotations): void {
    const wish = wishedPublicIp(annotations);
    if (Bun.deepEquals(wish, this.#latest)) return;
    this.#latest = wish;
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  /** The latest, and then each that differs from the one before; of several that come at once the last. Ends when `signal` aborts. */
  async *follow(signal: AbortSignal): AsyncGenerator<Wish, void, undefined> {
    const { promise: stopped, resolve } = Promise.withResolvers<void>();
    signal.addEventListener("abort", () => resolve(), { once: true });
    let told: Wish | undefined;
    while (!signal.aborted) {
      const { promise: changed } = this.#changed;
      if (told === undefined || !Bun.deepEquals(told, this.#latest)) {
        told = this.#latest;
        yield told;
      } else await Promise.race([changed, stopped]);
    }
  }
}
