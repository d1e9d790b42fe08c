// Which index each link of the host has, and what a vxlan link looks like as a kernel object. Objects name devices; messages number them.

import type { LinkMessage } from "../netlink/link.ts";
import type { Link } from "../state/object.ts";

export class LinkTable {
  readonly #names = new Map<number, string>();
  readonly #indexes = new Map<string, number>();

  nameOf(index: number): string | undefined {
    return this.#names.get(index);
  }

  indexOf(name: string): number | undefined {
    return this.#indexes.get(name);
  }

  set({ index, name }: Pick<LinkMessage, "index" | "name">): void {
    this.#names.set(index, name);
    this.#indexes.set(name, index);
  }

  delete(index: number): void {
    const name = this.#names.get(index);
    this.#names.delete(index);
    if (name !== undefined && this.#indexes.get(name) === index) this.#indexes.delete(name);
  }

  get indexes(): Iterable<number> {
    return [...this.#names.keys()];
  }
}

/** A vxlan link as a kernel object; undefined for links of other kinds. */
export function linkFromMessage(message: LinkMessage, links: LinkTable): Link | undefined {
  const { info, mac, mtu, name } = message;
  if (info?.type !== "vxlan" || !mac || mtu === undefined) return undefined;
  const parent = info.parentIndex === undefined ? undefined : links.nameOf(info.parentIndex);
  return {
    kind: "link",
    name,
    mac,
    mtu,
    info: {
      type: "vxlan",
      vni: info.vni,
      parent: parent ?? "",
      local: info.local,
      port: info.port,
      learning: info.learning,
      gbp: info.gbp,
      group: info.group,
      l2miss: info.l2miss,
    },
  };
}
