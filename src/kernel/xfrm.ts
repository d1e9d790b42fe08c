// IPsec policies, by xfrm's own netlink. Ours are those whose selectors both lie inside our network and whose template has flannel's reqid: upstream's too, so
// that a node that changes from one to the other goes on with what stands.

import { familiesOf, type PerFamily } from "../ip/family.ts";
import { contains, type Prefix } from "../ip/prefix.ts";
import { NetlinkError } from "../netlink/error.ts";
import { MessageReader } from "../netlink/message.ts";
import { NotificationSocket } from "../netlink/notification_socket.ts";
import { NETLINK_XFRM } from "../netlink/open.ts";
import { RequestSocket } from "../netlink/socket.ts";
import {
  decodePolicy,
  decodePolicyNotification,
  deletePolicy,
  dumpPolicies,
  putPolicy,
  type TunnelPolicy,
  XFRMNLGRP_POLICY,
} from "../netlink/xfrm.ts";
import { decodeState, deleteState, dumpStates } from "../netlink/xfrm_state.ts";
import type { XfrmPolicy } from "../state/backend_object.ts";
import { type ObjectKind, objectKey } from "../state/object.ts";
import type { Operation } from "../state/operation.ts";
import { printObject } from "../state/print.ts";
import { ENOENT, errnoName, SysError } from "../sys/error.ts";
import type { Driver, Outcome } from "./driver.ts";
import { Mirror } from "./mirror.ts";

/** What upstream gives all of its policies. */
export const FLANNEL_REQID = 11;

/** Three policies for each of thousands of peers, removed by one flush. */
const RECEIVE_BUFFER_BYTES = 8 << 20;

export interface XfrmOptions {
  readonly networks: PerFamily<Prefix>;
  /** Path of the network namespace to work in; this one by default. */
  readonly namespace?: string;
}

/** Removes associations that no charon looks after any more. Only for when flannel's own has ended: nobody else has this reqid beside it. */
export function sweepAssociations(): void {
  using socket = new RequestSocket({ protocol: NETLINK_XFRM });
  const left = socket.dump(dumpStates, decodeState).filter(({ reqid }) => reqid === FLANNEL_REQID);
  socket.batch((writer) => left.forEach((state) => void deleteState(writer, state))); // what is gone meanwhile may be
}

export class XfrmDriver implements Driver {
  readonly kinds: readonly ObjectKind[] = ["xfrmpolicy"];
  readonly mirror = new Mirror();
  readonly #networks: PerFamily<Prefix>;
  readonly #requests: RequestSocket;
  readonly #notifications: NotificationSocket;
  #inDoubt = true;
  #wake: () => void = () => {};

  /** Throws when the kernel has no IPsec. */
  constructor({ networks, namespace }: XfrmOptions) {
    this.#networks = networks;
    try {
      this.#requests = new RequestSocket({ namespace, protocol: NETLINK_XFRM });
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      throw new Error(
        `cannot reach the kernel's IPsec: ${errnoName(error.errno)}; it takes the modules xfrm_user and esp4 (modprobe -a xfrm_user esp4)`,
      );
    }
    const doubt = () => {
      this.#inDoubt = true;
      this.#wake();
    };
    this.#notifications = new NotificationSocket({
      protocol: NETLINK_XFRM,
      groups: [XFRMNLGRP_POLICY],
      namespace,
      exceptPortId: this.#requests.portId,
      onMessages: (datagram) => this.#hear(datagram, doubt),
      onOverrun: doubt,
      onFailure: doubt,
      receiveBufferBytes: RECEIVE_BUFFER_BYTES,
    });
  }

  get inDoubt(): boolean {
    return this.#inDoubt;
  }

  watch(wake: () => void): void {
    this.#wake = wake;
  }

  async refresh(): Promise<void> {
    if (!this.#inDoubt) return;
    this.#inDoubt = false;
    try {
      const policies = this.#requests.dump(dumpPolicies, decodePolicy);
      const seen = this.mirror.during(() => policies.forEach((policy) => void this.#see(policy)));
      this.mirror.loseWhere(this.kinds, (_, key) => !seen.has(key));
    } catch (error) {
      this.#inDoubt = true;
      throw error;
    }
  }

  async apply(operations: readonly Operation[]): Promise<readonly Outcome[]> {
    const answers = this.#requests.batch((writer) => {
      for (const { verb, object } of operations) {
        if (object.kind !== "xfrmpolicy") throw new Error(`xfrm driver got a ${object.kind}`);
        if (verb === "delete") deletePolicy(writer, object);
        else putPolicy(writer, object);
      }
    });
    return operations.map(({ verb, key, object }, i) => {
      const answer = answers[i];
      if (answer && !(verb === "delete" && answer.errno === ENOENT))
        return new NetlinkError(verb, printObject(object), answer);
      this.mirror.confirm(key, verb === "delete" ? undefined : object);
      return undefined;
    });
  }

  #hear(datagram: Uint8Array, doubt: () => void): void {
    const message = new MessageReader(datagram);
    while (message.next()) {
      const news = decodePolicyNotification(message);
      if (!news) continue;
      switch (news.kind) {
        case "new":
          this.#see(news.policy);
          break;
        case "deleted": {
          const { direction, src, dst } = news.policy;
          this.mirror.lose("xfrmpolicy", objectKey.xfrmpolicy(direction, src, dst));
          break;
        }
        case "flushed":
          this.mirror.loseWhere(this.kinds, () => true);
          break;
        case "another":
          doubt();
          break;
      }
    }
    if (this.mirror.hasChanged) this.#wake();
  }

  /** Policies between other networks are nobody's business here. */
  #see(policy: TunnelPolicy): void {
    if (!this.#isInside(policy.src) || !this.#isInside(policy.dst)) return;
    const object: XfrmPolicy = { kind: "xfrmpolicy", ...policy };
    this.mirror.see(object, policy.reqid === FLANNEL_REQID);
  }

  #isInside(prefix: Prefix): boolean {
    return familiesOf(this.#networks).some((family) => {
      const network = this.#networks[family];
      return network !== undefined && contains(network, prefix);
    });
  }

  [Symbol.dispose](): void {
    this.#notifications[Symbol.dispose]();
    this.#requests[Symbol.dispose]();
  }
}
