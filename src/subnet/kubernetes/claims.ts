// From nodes to leases as a LeaseSetBuilder takes them: each node claims the subnets of its pod CIDRs. Two nodes can claim the same (a node that was registered
// anew while the old one lingers): the older keeps it, and the other waits until it goes. Pure.

import { formatLeaseAttributes } from "../../lease/attributes.ts";
import { formatLeaseKey, type LeaseKey } from "../../lease/key.ts";
import type { StoredLease } from "../../lease/set.ts";
import { attributesFrom } from "./annotations.ts";
import { hasSubnet, type KubeNode, olderFirst, subnetsOf } from "./node.ts";

interface Claim {
  readonly name: string;
  readonly createdAt: string;
  readonly key: LeaseKey;
  readonly value: string;
}

export interface LeaseSink {
  put(stored: StoredLease): void;
  remove(key: string): void;
}

export class Claims {
  readonly #sink: LeaseSink;
  readonly #byName = new Map<string, Claim>();
  readonly #byKey = new Map<LeaseKey, Claim[]>();
  readonly #wrong = new Map<string, string>();
  /** What more than one node claims: nearly always empty. */
  readonly #contested = new Set<LeaseKey>();

  constructor(sink: LeaseSink) {
    this.#sink = sink;
  }

  /** Nodes that take no part, by name, each with its reason. */
  get refused(): ReadonlyMap<string, string> {
    const refused = new Map(this.#wrong);
    for (const contested of this.#contested) {
      const [first, ...others] = this.#byKey.get(contested) ?? [];
      for (const { name, key } of others)
        refused.set(name, `its pod CIDR ${key} is node ${first?.name}'s too, which is older`);
    }
    return refused;
  }

  /** The node as it is now; undefined when it is gone. */
  set(name: string, node: KubeNode | undefined): void {
    this.#wrong.delete(name);
    const claim = node && this.#claimOf(node);
    const before = this.#byName.get(name);
    if (before?.key !== claim?.key && before) this.#withdraw(before);
    if (!claim) {
      this.#byName.delete(name);
      return;
    }
    this.#byName.set(name, claim);
    const others = (this.#byKey.get(claim.key) ?? []).filter((other) => other.name !== name);
    this.#settle(claim.key, [...others, claim]);
  }

  /** undefined for a node that is not flannel's, has no subnet yet, or says something that makes no sense. */
  #claimOf(node: KubeNode): Claim | undefined {
    const attributes = attributesFrom(node.annotations);
    if (attributes === undefined) return undefined;
    const subnets = subnetsOf(node);
    const wrong = typeof attributes === "string" ? attributes : typeof subnets === "string" ? subnets : undefined;
    if (wrong !== undefined) this.#wrong.set(node.name, wrong);
    if (typeof attributes === "string" || typeof subnets === "string" || !hasSubnet(subnets)) return undefined;
    const { name, createdAt } = node;
    return { name, createdAt, key: formatLeaseKey(subnets), value: formatLeaseAttributes(attributes) };
  }

  #withdraw({ name, key }: Claim): void {
    const left = (this.#byKey.get(key) ?? []).filter((other) => other.name !== name);
    this.#settle(key, left);
  }

  #settle(key: LeaseKey, claims: Claim[]): void {
    const [first, ...others] = claims.sort(olderFirst);
    if (others.length > 0) this.#contested.add(key);
    else this.#contested.delete(key);
    if (!first) {
      this.#byKey.delete(key);
      this.#sink.remove(key);
      return;
    }
    this.#byKey.set(key, [first, ...others]);
    this.#sink.put({ key, value: first.value, expiresAt: undefined });
  }
}
