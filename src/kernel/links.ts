// Which index each link of the host has, and what a link of flannel's looks like as a kernel object. Objects name devices; messages number them.

import type { LinkMessage } from "../netlink/link.ts";
import type { Link, LinkInfo } from "../state/object.ts";

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

/** A link of a kind that flannel makes as a kernel object; undefined for links of other kinds. */
export function linkFromMessage(message: LinkMessage, links: LinkTable): Link | undefined {
  const { mac, mtu, name } = message;
  const info = infoFromMessage(message, links);
  if (!info || mtu === undefined || (info.type === "vxlan" && !mac)) return undefined;
  return { kind: "link", name, mac: info.type === "vxlan" ? mac : undefined, mtu, info };
}

function infoFromMessage({ info }: LinkMessage, links: LinkTable): LinkInfo | undefined {
  switch (info?.type) {
    case "vxlan": {
      const { type, vni, local, port, learning, gbp, group, l2miss, parentIndex } = info;
      const parent = parentIndex === undefined ? undefined : links.nameOf(parentIndex);
      return { type, vni, parent: parent ?? "", local, port, learning, gbp, group, l2miss };
    }
    case "ipip": {
      const { type, parentIndex, local, remote } = info;
      // A device that is gone meanwhile leaves its number.
      const parent = parentIndex === undefined ? undefined : (links.nameOf(parentIndex) ?? "");
      return { type, parent, local, remote };
    }
    case "tun":
      return info.mode === "tun" ? { type: "tun" } : undefined;
    case "other":
      return info.name === "wireguard" ? { type: "wireguard" } : undefined;
    default:
      return undefined;
  }
}
