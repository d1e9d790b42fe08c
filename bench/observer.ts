// The near side of the outside observer (watcher.ts): starts it, asks, and gets the moment at which something was seen.

import { ROUTE_PROTOCOL } from "../src/state/print.ts";
import { type Expectation, noCounts, type Question, type Reply, type Seen } from "./counts.ts";

/** Nothing measured here takes longer, on a slow machine either. */
const LIMIT_MS = 120_000;

export class Observer implements AsyncDisposable {
  readonly #child: Bun.Subprocess;
  readonly #pending = new Map<number, { readonly armed: () => void; readonly met: (seen: Seen) => void }>();
  #fail: (error: Error) => void = () => {};
  readonly #failed: Promise<never>;
  #next = 1;

  private constructor(what: readonly string[], ready: () => void) {
    this.#failed = new Promise((_, reject) => {
      this.#fail = reject;
    });
    this.#failed.catch(() => {}); // told to whoever waits
    this.#child = Bun.spawn([process.execPath, `${import.meta.dir}/watcher.ts`, ...what], {
      stdio: ["ignore", "inherit", "inherit"],
      serialization: "json",
      ipc: (message: Reply) => {
        if (message.kind === "ready") ready();
        else if (message.kind === "lost") this.#fail(new Error(`the observer missed something: ${message.reason}`));
        else if (message.kind === "armed") this.#pending.get(message.id)?.armed();
        else {
          this.#pending.get(message.id)?.met(message);
          this.#pending.delete(message.id);
        }
      },
      onExit: (_, code, signal) => this.#fail(new Error(`the observer ended: ${code ?? signal}`)),
    });
  }

  /** `directory` is watched for files; the neighbours and FDB entries of `device` count, and routes of `routeProtocol`. */
  static async open(
    namespace: string,
    device: string,
    directory: string,
    routeProtocol: number = ROUTE_PROTOCOL,
  ): Promise<Observer> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const observer = new Observer([namespace, device, directory, String(routeProtocol)], resolve);
    await Promise.race([promise, observer.#failed]);
    return observer;
  }

  /** Resolves once the observer listens, to what resolves when it has seen all that is expected. */
  async expect(expectation: Expectation): Promise<{ readonly seen: Promise<Seen> }> {
    const id = this.#next++;
    const armed = Promise.withResolvers<void>();
    const met = Promise.withResolvers<Seen>();
    this.#pending.set(id, { armed: armed.resolve, met: met.resolve });
    this.#child.send({ id, expectation } satisfies Question);
    await Promise.race([armed.promise, this.#failed]);
    const seen = this.#within(met.promise, expectation);
    seen.catch(() => {}); // whoever waits is told; who was stopped before does not wait
    return { seen };
  }

  /** What it has counted so far. */
  async counts(): Promise<Pick<Seen, "made" | "gone">> {
    const { seen } = await this.expect({});
    const { made, gone } = await seen;
    return { made: { ...noCounts(), ...made }, gone: { ...noCounts(), ...gone } };
  }

  async #within(met: Promise<Seen>, expectation: Expectation): Promise<Seen> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      const give = () => reject(new Error(`not seen within ${LIMIT_MS / 1000} s: ${JSON.stringify(expectation)}`));
      timer = setTimeout(give, LIMIT_MS);
    });
    try {
      return await Promise.race([met, late, this.#failed]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Its sockets keep a deleted namespace alive, so its end is waited for. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.disconnect();
    await this.#child.exited;
  }
}
