// A bridge (IFLA_BR_*) and a link as a port of one (IFLA_BRPORT_*), linux/if_link.h; `ip link add … type bridge …`,
// `bridge link set …`.

import type { AttributeReader } from "./attribute.ts";
import type { MessageWriter } from "./writer.ts";

const IFLA_BR_FORWARD_DELAY = 1;
const IFLA_BR_AGEING_TIME = 4;
const IFLA_BR_STP_STATE = 5;
const IFLA_BR_VLAN_FILTERING = 7;
const IFLA_BR_MCAST_SNOOPING = 23;
const IFLA_BR_VLAN_DEFAULT_PVID = 39;

const IFLA_BRPORT_MODE = 4;
const IFLA_BRPORT_LEARNING = 8;
const IFLA_BRPORT_UNICAST_FLOOD = 9;
const IFLA_BRPORT_ISOLATED = 33;

/** Options left out of a request are the kernel's default, or stay as they are in a change. */
export interface BridgeInfo {
  readonly type: "bridge";
  /** Hundredths of a second, as the kernel counts here. */
  readonly forwardDelay?: number;
  readonly ageingTime?: number;
  /** Spanning tree protocol. */
  readonly stp?: boolean;
  readonly vlanFiltering?: boolean;
  /** VLAN id that untagged packets get; 0 for none. */
  readonly vlanDefaultPvid?: number;
  readonly multicastSnooping?: boolean;
}

export interface BridgePort {
  /** Packets may go out of the port that they came in by. */
  readonly hairpin?: boolean;
  /** Isolated ports do not reach each other. */
  readonly isolated?: boolean;
  readonly learning?: boolean;
  /** Whether packets for unknown MACs leave by it. */
  readonly unicastFlood?: boolean;
}

export function writeBridgeInfo(writer: MessageWriter, type: number, info: BridgeInfo): void {
  const data = writer.beginNested(type);
  if (info.forwardDelay !== undefined) writer.u32(IFLA_BR_FORWARD_DELAY, info.forwardDelay);
  if (info.ageingTime !== undefined) writer.u32(IFLA_BR_AGEING_TIME, info.ageingTime);
  if (info.stp !== undefined) writer.u32(IFLA_BR_STP_STATE, Number(info.stp));
  if (info.vlanFiltering !== undefined) writer.u8(IFLA_BR_VLAN_FILTERING, Number(info.vlanFiltering));
  if (info.vlanDefaultPvid !== undefined) writer.u16(IFLA_BR_VLAN_DEFAULT_PVID, info.vlanDefaultPvid);
  if (info.multicastSnooping !== undefined) writer.u8(IFLA_BR_MCAST_SNOOPING, Number(info.multicastSnooping));
  writer.endNested(data);
}

export function decodeBridgeInfo(data: AttributeReader): BridgeInfo {
  const info: { -readonly [K in keyof BridgeInfo]: BridgeInfo[K] } = { type: "bridge" };
  while (data.next()) {
    switch (data.type) {
      case IFLA_BR_FORWARD_DELAY:
        info.forwardDelay = data.u32();
        break;
      case IFLA_BR_AGEING_TIME:
        info.ageingTime = data.u32();
        break;
      case IFLA_BR_STP_STATE:
        info.stp = data.u32() !== 0;
        break;
      case IFLA_BR_VLAN_FILTERING:
        info.vlanFiltering = data.u8() !== 0;
        break;
      case IFLA_BR_VLAN_DEFAULT_PVID:
        info.vlanDefaultPvid = data.u16();
        break;
      case IFLA_BR_MCAST_SNOOPING:
        info.multicastSnooping = data.u8() !== 0;
        break;
    }
  }
  return info;
}

export function writeBridgePort(writer: MessageWriter, type: number, port: BridgePort): void {
  const data = writer.beginNested(type);
  if (port.hairpin !== undefined) writer.u8(IFLA_BRPORT_MODE, Number(port.hairpin));
  if (port.learning !== undefined) writer.u8(IFLA_BRPORT_LEARNING, Number(port.learning));
  if (port.unicastFlood !== undefined) writer.u8(IFLA_BRPORT_UNICAST_FLOOD, Number(port.unicastFlood));
  if (port.isolated !== undefined) writer.u8(IFLA_BRPORT_ISOLATED, Number(port.isolated));
  writer.endNested(data);
}

export function decodeBridgePort(data: AttributeReader): BridgePort {
  const port: { -readonly [K in keyof BridgePort]: BridgePort[K] } = {};
  while (data.next()) {
    switch (data.type) {
      case IFLA_BRPORT_MODE:
        port.hairpin = data.u8() !== 0;
        break;
      case IFLA_BRPORT_LEARNING:
        port.learning = data.u8() !== 0;
        break;
      case IFLA_BRPORT_UNICAST_FLOOD:
        port.unicastFlood = data.u8() !== 0;
        break;
      case IFLA_BRPORT_ISOLATED:
        port.isolated = data.u8() !== 0;
        break;
    }
  }
  return port;
}
