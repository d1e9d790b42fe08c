// Connections as charon is told of them (load-conn) and as it tells of them (list-conns): strongSwan's swanctl.conf, section connections. Algorithms, lifetimes
// and the way to authenticate are upstream's, so that both kinds of flanneld agree.

import { parseAddress } from "../ip/address.ts";
import { parsePrefix } from "../ip/prefix.ts";
import type { IkeConnection, IkeDaemon } from "../state/backend_object.ts";
import type { Section, ViciValue } from "../vici/message.ts";
import { FLANNEL_REQID } from "./xfrm.ts";

/** Of IKE itself. */
const IKE_PROPOSAL = "aes256-sha256-modp4096";

/** Seconds without a packet of the peer after which it is asked for one. upstream: never, so that a peer that lost its associations is noticed after an hour. */
const LIVENESS_S = 60;

/** upstream: charon starts connections itself, both ends at once, and again by the packets of pods, whose reqid is the same for all peers. Here flanneld does (associations.ts). */
export function connectionSection(connection: IkeConnection, daemon: IkeDaemon): Section {
  const { name, child, local, remote, localId, remoteId, localSubnet, remoteSubnet, reqid } = connection;
  return {
    [name]: {
      local_addrs: [local],
      remote_addrs: [remote],
      proposals: [IKE_PROPOSAL],
      version: "2",
      keyingtries: "0", // without end
      encap: daemon.udpEncap ? "yes" : "no",
      mobike: "no", // an association on another address than the policy's would serve nobody
      dpd_delay: `${LIVENESS_S}s`,
      local: { auth: "psk", id: localId },
      remote: { auth: "psk", id: remoteId },
      children: {
        [child]: {
          local_ts: [localSubnet],
          remote_ts: [remoteSubnet],
          esp_proposals: [daemon.espProposal],
          mode: "tunnel",
          reqid: `${reqid}`,
          rekey_time: "1h",
          policies: "no",
          start_action: "none",
          close_action: "none",
          dpd_action: "restart",
        },
      },
    },
  };
}

/** The connections of one message of list-conns; what cannot be one of ours is left out. */
export function connectionsOf(message: Section): IkeConnection[] {
  return Object.entries(message)
    .map(([name, value]) => (isSection(value) ? connectionOf(name, value) : undefined))
    .filter((connection) => connection !== undefined);
}

function connectionOf(name: string, section: Section): IkeConnection | undefined {
  const children = isSection(section.children) ? Object.entries(section.children) : [];
  const [child, tunnel] = children[0] ?? [];
  if (child === undefined || !isSection(tunnel)) return undefined;
  const local = parseAddress(first(section.local_addrs));
  const remote = parseAddress(first(section.remote_addrs));
  const localId = parseAddress(idIn(section["local-1"]));
  const remoteId = parseAddress(idIn(section["remote-1"]));
  const localSubnet = parsePrefix(first(tunnel["local-ts"]));
  const remoteSubnet = parsePrefix(first(tunnel["remote-ts"]));
  if (!local || !remote || !localId || !remoteId || !localSubnet || !remoteSubnet) return undefined;
  const ends = { local, remote, localId, remoteId, localSubnet, remoteSubnet };
  // charon does not tell the reqid.
  return { kind: "ike", name, child, ...ends, reqid: FLANNEL_REQID };
}

function idIn(end: ViciValue | undefined): string {
  return isSection(end) && typeof end.id === "string" ? end.id : "";
}

function first(value: ViciValue | undefined): string {
  return Array.isArray(value) && typeof value[0] === "string" ? value[0] : "";
}

export function isSection(value: ViciValue | undefined): value is Section {
  return typeof value === "object" && !Array.isArray(value);
}
