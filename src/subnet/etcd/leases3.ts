// etcd's own leases, which carry the TTL of the keys attached to them: granted, kept alive, looked at, revoked. A key of
// flannel's has a lease of its own, ours as well as the Go daemon's; but nothing forbids others to share one, so a lease is
// revoked only once no key hangs on it.

import type { RpcClient } from "./rpc_client.ts";
import type { Operation } from "./rpc_error.ts";

export interface Granted {
  readonly id: bigint;
  /** What etcd gave, which may be more than asked: no less than its election timeout allows. */
  readonly ttlSeconds: number;
}

/** The TTL of a lease in etcd's unit. */
export function secondsOf(ttlMs: number): number {
  return Math.max(1, Math.ceil(ttlMs / 1000));
}

export class Leases3 {
  readonly #client: RpcClient;

  constructor(client: RpcClient) {
    this.#client = client;
  }

  async grant(ttlMs: number, signal: AbortSignal): Promise<Granted> {
    const request = { TTL: BigInt(secondsOf(ttlMs)) };
    const operation: Operation = { action: `grant a lease of ${secondsOf(ttlMs)} s` };
    const granted = await this.#client.call(
      operation,
      false,
      ({ lease }, options) => lease.leaseGrant(request, options),
      signal,
    );
    return { id: granted.ID, ttlSeconds: Number(granted.TTL) };
  }

  /** Gives the lease its whole TTL again, and tells it in seconds; undefined when there is no such lease any more. */
  async keepAlive(id: bigint, signal: AbortSignal): Promise<number | undefined> {
    const operation: Operation = { action: `renew lease ${id.toString(16)}` };
    return await this.#client.call(
      operation,
      true,
      async ({ lease }, options) => {
        for await (const { TTL } of lease.leaseKeepAlive(one({ ID: id }), options)) {
          return TTL > 0n ? Number(TTL) : undefined;
        }
        return undefined;
      },
      signal,
    );
  }

  /** What is left of a lease and what was granted, in seconds; undefined when there is no such lease. */
  async look(id: bigint, signal: AbortSignal) {
    const operation: Operation = { action: `look at lease ${id.toString(16)}` };
    const found = await this.#client.call(
      operation,
      true,
      ({ lease }, options) => lease.leaseTimeToLive({ ID: id, keys: true }, options),
      signal,
    );
    // -1; what ends within a second has 0.
    if (found.TTL < 0n) return undefined;
    return { leftSeconds: Number(found.TTL), grantedSeconds: Number(found.grantedTTL), keys: found.keys.length };
  }

  /** Revokes a lease that no key needs. As far as possible: it ends by itself otherwise. */
  async drop(id: bigint, signal: AbortSignal): Promise<void> {
    if (id === 0n) return;
    const operation: Operation = { action: `revoke lease ${id.toString(16)}` };
    try {
      if ((await this.look(id, signal))?.keys !== 0) return;
      await this.#client.call(operation, false, ({ lease }, options) => lease.leaseRevoke({ ID: id }, options), signal);
    } catch {
      // Nothing depends on it.
    }
  }

  /** Revokes a lease that was granted for a key which came to nothing, or of which that is not known; the key goes with it. */
  async withdraw(id: bigint): Promise<void> {
    const operation: Operation = { action: `revoke lease ${id.toString(16)}` };
    const { signal } = new AbortController();
    await this.#client
      .call(operation, false, ({ lease }, options) => lease.leaseRevoke({ ID: id }, options), signal)
      .catch(() => {}); // it ends by itself
  }
}

async function* one<T>(message: T) {
  yield message;
}
