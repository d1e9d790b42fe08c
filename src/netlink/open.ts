// Opens netlink sockets (netlink(7), linux/netlink.h).
//
// struct sockaddr_nl, 12 bytes:  0 u16 nl_family   2 u16 zero   4 u32 nl_pid (the port; 0 lets the kernel choose)   8
// u32 nl_groups

import { ENOPROTOOPT, EPERM, SysError } from "../sys/error.ts";
import {
  AF_NETLINK,
  attachFilter,
  BPF_JEQ_K,
  BPF_LD_W_ABS,
  BPF_RET_K,
  bind,
  close,
  getsockname,
  SO_RCVBUF,
  SO_RCVBUFFORCE,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_RAW,
  SOL_SOCKET,
  setsockopt,
  socket,
} from "../sys/libc.ts";
import { inNamespace } from "../sys/netns.ts";

export const NETLINK_ROUTE = 0;
/** IPsec policies and associations (xfrm.ts). */
export const NETLINK_XFRM = 6;
/** Connection tracking, nftables and their kin; its groups are NFNLGRP_* of linux/netfilter/nfnetlink.h. */
export const NETLINK_NETFILTER = 12;
/** Families by name (genetlink.ts). */
export const NETLINK_GENERIC = 16;
const SOL_NETLINK = 270;
const NETLINK_ADD_MEMBERSHIP = 1;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const NETLINK_GET_STRICT_CHK = 12;

export const SUBJECT = "netlink socket";

export interface OpenOptions {
  /** Path of the network namespace to open it in: "/var/run/netns/NAME"; this one by default. */
  readonly namespace?: string | undefined;
  /** NETLINK_*; routes, links and their kind by default. */
  readonly protocol?: number | undefined;
  /** Bytes that the kernel may queue for us; the kernel doubles the number for its own overhead. */
  readonly receiveBufferBytes: number;
}

/** A non-blocking socket bound to a port of its own. */
export function openNetlinkSocket({ namespace, protocol = NETLINK_ROUTE, receiveBufferBytes }: OpenOptions): {
  fd: number;
  portId: number;
} {
  const type = SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC;
  const make = () => socket(AF_NETLINK, type, protocol, SUBJECT);
  const fd = namespace === undefined ? make() : inNamespace(namespace, make);
  try {
    setReceiveBuffer(fd, receiveBufferBytes);
    const any = new Uint8Array(12);
    any[0] = AF_NETLINK;
    bind(fd, any, SUBJECT);
    const own = getsockname(fd, SUBJECT);
    return { fd, portId: new DataView(own.buffer, own.byteOffset, own.length).getUint32(4, true) };
  } catch (error) {
    close(fd);
    throw error;
  }
}

/** Subscribes to a multicast group, RTNLGRP_* (notification.ts). */
export function joinGroup(fd: number, group: number): void {
  setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group, SUBJECT);
}

/**
 * Leaves out the messages that the socket with this port caused: their first message carries it at byte 12. A daemon
 * that makes 20,000 objects is then not woken 15,000 times to hear what it knows (the kernel does not say who caused
 * links and FDB entries).
 */
export function exceptCausedBy(fd: number, portId: number): void {
  const program = [
    { code: BPF_LD_W_ABS, k: 12 },
    { code: BPF_JEQ_K, k: inNetworkOrder(portId), jumpFalse: 1 },
    { code: BPF_RET_K, k: 0 },
    { code: BPF_RET_K, k: 0xffffffff },
  ];
  attachFilter(fd, program, SUBJECT);
}

/** As BPF loads it, where netlink has numbers in host order. */
function inNetworkOrder(value: number): number {
  const view = new DataView(new ArrayBuffer(4));
  view.setUint32(0, value, true);
  return view.getUint32(0, false);
}

/**
 * Asks for the kernel's own words with a refusal (Linux ≥ 4.12), refusals that repeat only the request's header (≥
 * 4.3), and dumps that are filtered by the kernel (≥ 4.20). Without any of them all works, with less said and more
 * read.
 */
export function setForRequests(fd: number): void {
  for (const option of [NETLINK_EXT_ACK, NETLINK_CAP_ACK, NETLINK_GET_STRICT_CHK]) {
    try {
      setsockopt(fd, SOL_NETLINK, option, 1, SUBJECT);
    } catch (error) {
      if (!(error instanceof SysError && error.errno === ENOPROTOOPT)) throw error;
    }
  }
}

/** Beyond net.core.rmem_max where we may, up to it where we may not. */
function setReceiveBuffer(fd: number, bytes: number): void {
  try {
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, bytes, SUBJECT);
  } catch (error) {
    if (!(error instanceof SysError && error.errno === EPERM)) throw error;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, bytes, SUBJECT);
  }
}
