// nftables' rules by nft(8). Which tables there are, and that one of ours changed, the kernel tells itself: no program runs while nothing of ours is there.

import { NFT_FAMILY, type NftListing, nftTransaction, readNftTables, tableNames } from "../firewall/nftables.ts";
import type { FoundRules, OwnNetworks, RuleSet } from "../firewall/rule.ts";
import { type Family, familiesOf, type PerFamily } from "../ip/family.ts";
import { AnswerError } from "../netlink/error.ts";
import { MessageReader } from "../netlink/message.ts";
import { decodeTableName, dumpTables, NFNLGRP_NFTABLES } from "../netlink/nftables.ts";
import { NotificationSocket } from "../netlink/notification_socket.ts";
import { NETLINK_NETFILTER } from "../netlink/open.ts";
import { RequestSocket } from "../netlink/socket.ts";
import { type RunCommand, runCommand } from "./command.ts";
import type { RuleAccess } from "./rule_driver.ts";

/** More than one transaction of kube-proxy's; what does not fit is an overrun, which is looked at as a change. */
const RECEIVE_BUFFER_BYTES = 4 << 20;

export interface NftablesOptions {
  readonly networks: PerFamily<OwnNetworks>;
  /** Path of the network namespace to watch, and a runner inside it; this one by default. */
  readonly namespace?: string | undefined;
  readonly run?: RunCommand;
}

export class Nftables implements RuleAccess {
  readonly tool = "nftables";
  readonly tellsChanges = true;
  readonly #networks: PerFamily<OwnNetworks>;
  readonly #namespace: string | undefined;
  readonly #run: RunCommand;
  #notifications: NotificationSocket | undefined;

  constructor({ networks, namespace, run = runCommand }: NftablesOptions) {
    this.#networks = networks;
    this.#namespace = namespace;
    this.#run = run;
  }

  async list(): Promise<readonly FoundRules[]> {
    const names = this.#tableNames();
    return await Promise.all(familiesOf(this.#networks).map((family) => this.#listFamily(family, names)));
  }

  async #listFamily(family: Family, all: ReadonlySet<string>): Promise<FoundRules> {
    const networks = this.#networks[family] as OwnNetworks;
    const tables = new Map<string, NftListing>();
    for (const name of new Set(tableNames(family, networks))) {
      if (!all.has(name)) continue;
      try {
        const text = await this.#run(["nft", "-j", "list", "table", NFT_FAMILY[family], name]);
        tables.set(name, JSON.parse(text) as NftListing);
      } catch (error) {
        // Gone since the kernel told of it, or of another family under our name; whatever else it is, it is again at the next look.
        if (this.#tableNames().has(name)) throw error;
      }
    }
    return readNftTables(family, networks, tables);
  }

  /** Empty on a kernel without nftables. */
  #tableNames(): ReadonlySet<string> {
    using socket = new RequestSocket({ namespace: this.#namespace, protocol: NETLINK_NETFILTER });
    try {
      return new Set(socket.dump(dumpTables, decodeTableName));
    } catch (error) {
      if (error instanceof AnswerError) return new Set();
      throw error;
    }
  }

  async write(desired: RuleSet | undefined, { set, suffix }: FoundRules): Promise<void> {
    await this.#run(["nft", "-f", "-"], nftTransaction(desired, set, suffix));
  }

  watch(changed: () => void): void {
    this.#notifications = watchTables((name) => name.startsWith("flannel-"), this.#namespace, changed);
  }

  [Symbol.dispose](): void {
    this.#notifications?.[Symbol.dispose]();
  }
}

/** Calls `changed` when something of a table that `isOurs` changes; a datagram of kube-proxy's holds thousands of others. Throws SysError. */
export function watchTables(
  isOurs: (table: string) => boolean,
  namespace: string | undefined,
  changed: () => void,
): NotificationSocket {
  return new NotificationSocket({
    protocol: NETLINK_NETFILTER,
    groups: [NFNLGRP_NFTABLES],
    namespace,
    onMessages: (datagram) => {
      const message = new MessageReader(datagram);
      while (message.next()) {
        const table = decodeTableName(message);
        if (table !== undefined && isOurs(table)) return changed();
      }
    },
    onOverrun: changed,
    onFailure: changed,
    receiveBufferBytes: RECEIVE_BUFFER_BYTES,
  });
}
