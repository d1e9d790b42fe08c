// What the kernel has, as far as it concerns us: read by dump once, kept true by notifications, and marked where it changed, so that the reconciler looks
// only there.

import { type KernelObject, keyOf, type ObjectKey, type ObjectKind, sameObject } from "../state/object.ts";
import type { Actual } from "../state/operation.ts";

export class Mirror {
  readonly #objects = new Map<ObjectKey, Actual>();
  readonly #changed = new Map<ObjectKind, Set<ObjectKey>>();
  #seen: Set<ObjectKey> | undefined;

  get(key: ObjectKey): Actual | undefined {
    return this.#objects.get(key);
  }

  get all(): ReadonlyMap<ObjectKey, Actual> {
    return this.#objects;
  }

  /** Somebody said that the kernel has `object`; marks its key when that is news. */
  see(object: KernelObject, ours: boolean): void {
    const key = keyOf(object);
    this.#seen?.add(key);
    const before = this.#objects.get(key);
    if (before && before.ours === ours && sameObject(before.object, object)) return;
    this.#objects.set(key, { object, ours });
    this.#mark(object.kind, key);
  }

  /** The keys of everything that is seen while `dump` runs. */
  during(dump: () => void): ReadonlySet<ObjectKey> {
    const seen = new Set<ObjectKey>();
    this.#seen = seen;
    try {
      dump();
    } finally {
      this.#seen = undefined;
    }
    return seen;
  }

  /** Somebody said that the kernel no longer has it. */
  lose(kind: ObjectKind, key: ObjectKey): void {
    if (this.#objects.delete(key)) this.#mark(kind, key);
  }

  /** Loses every object of `kind` for which `gone` holds: after a dump that no longer shows them, or with their device. */
  loseWhere(kinds: readonly ObjectKind[], gone: (object: KernelObject, key: ObjectKey) => boolean): void {
    for (const [key, { object }] of this.#objects) {
      if (kinds.includes(object.kind) && gone(object, key)) this.lose(object.kind, key);
    }
  }

  /** The kernel acknowledged our own operation: true, and no news. */
  confirm(key: ObjectKey, object: KernelObject | undefined, ours = true): void {
    if (object) this.#objects.set(key, { object, ours });
    else this.#objects.delete(key);
  }

  /** Keys of `kind` that changed since the last call. */
  takeChanged(kind: ObjectKind): ReadonlySet<ObjectKey> {
    const changed = this.#changed.get(kind);
    this.#changed.delete(kind);
    return changed ?? new Set();
  }

  get hasChanged(): boolean {
    return this.#changed.size > 0;
  }

  #mark(kind: ObjectKind, key: ObjectKey): void {
    const changed = this.#changed.get(kind);
    if (changed) changed.add(key);
    else this.#changed.set(kind, new Set([key]));
  }
}
