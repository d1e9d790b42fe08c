// The cable between bridge and container: one message to the kernel makes both ends in their namespaces, with their names, MTU and MAC, and attaches the
// host's end to the bridge. So there is no moment at which half of it is there.

import type { Mac } from "../../ip/mac.ts";
import { AnswerError } from "../../netlink/error.ts";
import { addLink, changeLink, deleteLink } from "../../netlink/link.ts";
import { findLinkBrief } from "../../netlink/link_brief.ts";
import type { RequestSocket } from "../../netlink/socket.ts";
import { EEXIST } from "../../sys/error.ts";
import { CNI_CODE, CniError } from "../cni_error.ts";
import { preferSysctl } from "../sysctl.ts";

/** Names are random: a second one of four bytes hardly ever meets the first. */
const ATTEMPTS = 10;

export interface VethOptions {
  readonly bridgeIndex: number;
  readonly ifname: string;
  /** Open file of the container's namespace. */
  readonly namespaceFd: number;
  readonly mtu: number | undefined;
  readonly mac: Mac | undefined;
  readonly hairpin: boolean;
  /** Eight hex digits. */
  randomName(): string;
}

/** Answers the name of the host's end, which is up. */
export function addVeth(socket: RequestSocket, options: VethOptions): string {
  const { bridgeIndex, ifname, namespaceFd, mtu, mac, hairpin } = options;
  for (let attempt = 1; ; attempt++) {
    const name = `veth${options.randomName()}`;
    const both = { transmitQueueLength: 0, ...(mtu !== undefined && { mtu }) };
    const info = { type: "veth", peer: { name: ifname, namespaceFd, ...both, ...(mac && { mac }) } } as const;
    const [refusal, port] = socket.batch((writer) => {
      addLink(writer, { name, info, masterIndex: bridgeIndex, up: true, ...both });
      if (hairpin) changeLink(writer, 0, { name, port: { hairpin } });
    });
    if (refusal?.errno === EEXIST && attempt < ATTEMPTS && findLinkBrief(socket, { name })) continue;
    if (refusal?.errno === EEXIST) {
      throw new CniError(CNI_CODE.internal, `container veth name provided (${ifname}) already exists`);
    }
    if (refusal) throw new CniError(CNI_CODE.internal, `failed to make veth pair: ${new AnswerError(refusal).message}`);
    if (port) {
      removeLink(socket, name);
      const cause = `hairpin mode of ${name}: ${new AnswerError(port).message}`;
      throw new CniError(CNI_CODE.internal, `failed to setup veth: ${cause}`);
    }
    preferSysctl(`ipv6/conf/${name}/accept_ra`, "0");
    return name;
  }
}

/** Both ends, when what led to it failed. */
export function removeLink(socket: RequestSocket, name: string): void {
  try {
    socket.request((writer) => deleteLink(writer, { name }));
  } catch {
    // Gone already; or else the first error is the one to tell, and DEL comes.
  }
}
