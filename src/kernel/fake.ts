// A kernel in memory, for tests of what lies above: it refuses what Linux refuses, with Linux's errno, and is silent where Linux is silent. That it stays
// true is the contract's business (test/kernel/contract.ts), which runs against this and against the real one.

import { prefixFamily } from "../ip/prefix.ts";
import { type KernelObject, KIND_ORDER, keyOf, type ObjectKey, type ObjectKind, objectKey } from "../state/object.ts";
import type { Change, Operation } from "../state/operation.ts";
import { printObject } from "../state/print.ts";
import type { Driver, Outcome } from "./driver.ts";
import { Mirror } from "./mirror.ts";

export class FakeKernel implements Driver {
  readonly kinds = KIND_ORDER;
  readonly mirror = new Mirror();
  readonly #world = new Map<ObjectKey, KernelObject>();
  readonly #foreign = new Set<ObjectKey>();
  readonly #parents: ReadonlyMap<string, number>;
  readonly #doubt = new Set<ObjectKind>(KIND_ORDER);
  /** Notifications are news of the past: they arrive later, and say what was seen when they were sent. */
  #pending: (() => void)[] = [];
  #wake: () => void = () => {};

  /** `parents`: devices that can carry a vxlan, with their MTU in bytes. */
  constructor(parents: ReadonlyMap<string, number>) {
    this.#parents = parents;
  }

  get inDoubt(): boolean {
    return this.#doubt.size > 0;
  }

  /** Everything there is. */
  get objects(): readonly KernelObject[] {
    return [...this.#world.values()];
  }

  watch(wake: () => void): void {
    this.#wake = wake;
  }

  async refresh(kind: ObjectKind): Promise<void> {
    if (!this.#doubt.delete(kind)) return;
    this.mirror.loseWhere([kind], (_, key) => !this.#world.has(key));
    for (const [key, object] of this.#world) if (object.kind === kind) this.mirror.see(object, !this.#foreign.has(key));
  }

  async apply(operations: readonly Operation[]): Promise<readonly Outcome[]> {
    return operations.map((operation) => {
      const errno = this.#do(operation);
      if (errno) return new Error(`cannot ${operation.verb} ${printObject(operation.object)}: ${errno}`);
      const { key } = operation;
      this.mirror.confirm(key, operation.verb === "delete" ? undefined : this.#world.get(key));
      return undefined;
    });
  }

  /** Somebody else changes the kernel; flannel hears of it as it would from Linux. */
  outside(operation: Change, foreign = false): void {
    const errno = this.#do(operation);
    if (errno) throw new Error(`Cannot ${operation.verb} ${printObject(operation.object)} from outside: ${errno}`);
    if (foreign) this.#foreign.add(keyOf(operation.object));
  }

  /** Delivers notifications; `lost` drops them instead and says so, as ENOBUFS does. */
  deliver(lost = false): void {
    for (const news of this.#pending.splice(0)) if (!lost) news();
    if (lost) for (const kind of KIND_ORDER) this.#doubt.add(kind);
    this.#wake();
  }

  #do(operation: Change): string | undefined {
    const { object, verb } = operation;
    const key = keyOf(object);
    if (verb === "delete") {
      if (this.#world.has(key)) this.#remove(key, object);
      return undefined;
    }
    if (verb === "recreate") this.#remove(key, operation.actual);
    const errno = this.#refusal(object);
    if (errno) return errno;
    const stands = object.kind === "link" ? { ...object, mtu: this.#clamp(object) } : object;
    this.#world.set(key, stands);
    this.#foreign.delete(key);
    this.#notify(() => this.mirror.see(stands, !this.#foreign.has(key)));
    return undefined;
  }

  #refusal(object: KernelObject): string | undefined {
    if (object.kind === "link") {
      const { parent } = { parent: undefined, ...object.info };
      return parent === undefined || this.#parents.has(parent) ? undefined : "ENODEV";
    }
    if (!("dev" in object) || this.#parents.has(object.dev)) return undefined;
    if (!this.#world.has(objectKey.link(object.dev))) return "ENODEV";
    if (object.kind !== "nexthop" && object.kind !== "route") return undefined;
    if (!this.#world.has(objectKey.up(object.dev))) return "ENETDOWN";
    if (object.kind === "route" && object.form === "object") {
      const { gateway, dev } = object;
      return gateway && this.#world.has(objectKey.nexthop(gateway, dev)) ? undefined : "EINVAL";
    }
    return object.onlink || this.#parents.has(object.dev) ? undefined : "ENETUNREACH";
  }

  /** A vxlan's MTU ends where its parent's packets do. */
  #clamp(link: Extract<KernelObject, { kind: "link" }>): number {
    if (link.info.type !== "vxlan") return link.mtu;
    const overhead = link.info.local?.includes(":") ? 70 : 50;
    return Math.min(link.mtu, (this.#parents.get(link.info.parent) ?? 0) - overhead);
  }

  #remove(key: ObjectKey, object: KernelObject): void {
    this.#world.delete(key);
    this.#foreign.delete(key);
    const takes = (kinds: readonly ObjectKind[], where: (other: KernelObject) => boolean) => {
      for (const [otherKey, other] of this.#world) {
        if (kinds.includes(other.kind) && where(other)) this.#world.delete(otherKey);
      }
    };
    const on = (dev: string) => (other: KernelObject) => "dev" in other && other.dev === dev;
    switch (object.kind) {
      case "link":
        takes(KIND_ORDER, on(object.name));
        this.#notify(() => this.mirror.loseWhere(KIND_ORDER, on(object.name)));
        break;
      case "up":
        // Routes and nexthops go without a word; neighbours are announced.
        takes(["neighbour", "nexthop", "route"], on(object.dev));
        this.#notify(() => this.mirror.loseWhere(["neighbour"], on(object.dev)));
        this.#doubtLater("nexthop", "route");
        break;
      case "address":
        if (prefixFamily(object.address) === "ipv4" && !this.#hasIPv4(object.dev)) {
          takes(
            ["nexthop", "route"],
            (other) => on(object.dev)(other) && !("gateway" in other && other.gateway?.includes(":")),
          );
        }
        this.#doubtLater("nexthop", "route");
        break;
      case "nexthop":
        takes(["route"], (other) => on(object.dev)(other) && "gateway" in other && other.gateway === object.gateway);
        this.#doubtLater("route");
        break;
      default:
        break;
    }
    this.#notify(() => this.mirror.lose(object.kind, key));
  }

  #hasIPv4(dev: string): boolean {
    return [...this.#world.values()].some(
      (other) => other.kind === "address" && other.dev === dev && prefixFamily(other.address) === "ipv4",
    );
  }

  #doubtLater(...kinds: ObjectKind[]): void {
    this.#notify(() => {
      for (const kind of kinds) this.#doubt.add(kind);
    });
  }

  #notify(news: () => void): void {
    this.#pending.push(news);
    queueMicrotask(() => this.deliver());
  }

  [Symbol.dispose](): void {
    this.#wake = () => {};
  }
}
