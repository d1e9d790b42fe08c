// From lease sets to desired state. The planner calls a backend's `peer` only for leases that changed and keeps the union of what it answers, so a change of
// one lease among 5,000 costs what it costs among two. Pure: it holds state, but touches nothing.

import type { LeaseKey } from "../lease/key.ts";
import type { Lease } from "../lease/lease.ts";
import type { LeaseSet } from "../lease/set.ts";
import { type KernelObject, keyOf, type ObjectKey, sameObject } from "../state/object.ts";
import type { Backend, HostFacts } from "./backend.ts";

/** A backend with everything but the peer filled in. */
export interface BoundBackend {
  readonly node: readonly KernelObject[];
  peer(peer: Lease): ReturnType<Backend<unknown, unknown>["peer"]>;
}

export function bindBackend<C, I>(
  backend: Backend<C, I>,
  config: C,
  identity: I,
  own: Lease,
  facts: HostFacts,
): BoundBackend {
  return {
    node: [...backend.node(config, identity, own, facts)],
    peer: (peer) => backend.peer(config, identity, own, peer, facts),
  };
}

export class Planner {
  readonly #backend: BoundBackend;
  readonly #desired = new Map<ObjectKey, KernelObject>();
  /** Owners beyond the first, for objects that several leases want alike (two leases of one peer share its FDB entry). */
  readonly #shared = new Map<ObjectKey, number>();
  readonly #byLease = new Map<LeaseKey, readonly ObjectKey[]>();
  readonly #refused = new Map<LeaseKey, string>();
  /** Those refused for the sake of another lease: they may have its place once it leaves. */
  readonly #waiting = new Set<LeaseKey>();
  #setNumber = 0;

  constructor(backend: BoundBackend) {
    this.#backend = backend;
    for (const object of backend.node) this.#want(keyOf(object), object);
  }

  /** The whole desired state; a live view that `update` changes. */
  get desired(): ReadonlyMap<ObjectKey, KernelObject> {
    return this.#desired;
  }

  /** Leases that the backend refused, or that want an object another lease has otherwise: key → reason. */
  get refused(): ReadonlyMap<LeaseKey, string> {
    return this.#refused;
  }

  /** Takes a lease set and returns the keys whose desired object changed. */
  update(set: LeaseSet): ReadonlySet<ObjectKey> {
    const leases = set.previous === this.#setNumber && this.#setNumber > 0 ? set.changed : this.#allKeys(set);
    this.#setNumber = set.number;
    const dirty = new Set<ObjectKey>();
    for (const key of leases) this.#release(key, dirty);
    for (const key of leases) this.#admit(key, set, dirty);
    if (dirty.size > 0) for (const key of [...this.#waiting]) this.#admit(key, set, dirty);
    return dirty;
  }

  #allKeys(set: LeaseSet): Set<LeaseKey> {
    return new Set([...set.leases.keys(), ...this.#byLease.keys(), ...this.#refused.keys()]);
  }

  #release(key: LeaseKey, dirty: Set<ObjectKey>): void {
    this.#refused.delete(key);
    this.#waiting.delete(key);
    for (const objectKey of this.#byLease.get(key) ?? []) this.#unwant(objectKey, dirty);
    this.#byLease.delete(key);
  }

  #admit(key: LeaseKey, set: LeaseSet, dirty: Set<ObjectKey>): void {
    this.#refused.delete(key);
    this.#waiting.delete(key);
    const lease = set.leases.get(key);
    if (!lease) return;
    const objects = this.#backend.peer(lease);
    if ("kind" in objects) {
      this.#refused.set(key, objects.reason);
      return;
    }
    const keys: ObjectKey[] = [];
    for (const object of objects) {
      const objectKey = keyOf(object);
      const other = this.#desired.get(objectKey);
      if (other && !sameObject(object, other)) {
        this.#refused.set(key, `it wants ${objectKey}, which another lease already has otherwise`);
        this.#waiting.add(key);
        return;
      }
      keys.push(objectKey);
    }
    for (const [i, objectKey] of keys.entries()) {
      this.#want(objectKey, objects[i] as KernelObject);
      dirty.add(objectKey);
    }
    this.#byLease.set(key, keys);
  }

  #want(key: ObjectKey, object: KernelObject): void {
    if (this.#desired.has(key)) this.#shared.set(key, (this.#shared.get(key) ?? 0) + 1);
    else this.#desired.set(key, object);
  }

  #unwant(key: ObjectKey, dirty: Set<ObjectKey>): void {
    const shared = this.#shared.get(key) ?? 0;
    if (shared > 1) this.#shared.set(key, shared - 1);
    else if (shared === 1) this.#shared.delete(key);
    else {
      this.#desired.delete(key);
      dirty.add(key);
    }
  }
}
