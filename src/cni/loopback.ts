// The plugin `loopback`: `ip link set lo up` in the container. What it answers is the reference plugin's: the interface and the addresses that the kernel
// gave it, or the previous result where there is one.

import type { Family } from "../ip/family.ts";
import { prefixFamily } from "../ip/prefix.ts";
import { changeLink, IFF_UP, type LinkMessage } from "../netlink/link.ts";
import { findLink, listAddresses } from "../netlink/list.ts";
import { RequestSocket } from "../netlink/socket.ts";
import { EINVAL, ENOENT, SysError } from "../sys/error.ts";
import { inNamespace } from "../sys/netns.ts";
import { CNI_CODE, CniError } from "./cni_error.ts";
import { KEYS_OF_ALL, type Raw } from "./conf_fields.ts";
import type { Plugin } from "./plugin.ts";
import type { ResultIp } from "./result.ts";

const NAME = "lo";
const NO_MAC = "00:00:00:00:00:00";

export const loopback: Plugin = {
  type: "loopback",
  async add({ call, conf }) {
    const ips = inNamespace(call.netns, () => {
      using socket = new RequestSocket();
      const link = loopbackOf(socket);
      socket.request((writer) => changeLink(writer, link.index, { up: true }));
      return addressesOf(socket, link);
    });
    if (conf.prevResult) return conf.prevResult;
    return { interfaces: [{ name: NAME, mac: NO_MAC, sandbox: call.netns }], ips, routes: [], dns: {} };
  },

  async del({ call }) {
    if (call.netns === "") return;
    try {
      inNamespace(call.netns, () => {
        using socket = new RequestSocket();
        const link = loopbackOf(socket);
        socket.request((writer) => changeLink(writer, link.index, { up: false }));
      });
    } catch (error) {
      const gone = error instanceof SysError && error.subject === call.netns && [ENOENT, EINVAL].includes(error.errno);
      if (!gone) throw error;
    }
  },

  async check({ call }) {
    const link = inNamespace(call.netns, () => {
      using socket = new RequestSocket();
      return loopbackOf(socket);
    });
    if (!(link.flags & IFF_UP)) throw new CniError(CNI_CODE.internal, `loopback interface is down in ${call.netns}`);
  },

  async status() {},

  async gc() {},
};

/** Whether the built-in plugin does all that a configuration asks for. */
export function knowsKeys(raw: Raw): boolean {
  return Object.keys(raw).every((key) => KEYS_OF_ALL.includes(key));
}

function loopbackOf(socket: RequestSocket): LinkMessage {
  const link = findLink(socket, { name: NAME });
  if (!link) throw new CniError(CNI_CODE.internal, `cannot find ${NAME} in the container's namespace`);
  return link;
}

/** The first address of each family. */
function addressesOf(socket: RequestSocket, { index }: LinkMessage): ResultIp[] {
  const addresses = listAddresses(socket, { index }).map(({ address }) => address);
  return (["ipv4", "ipv6"] satisfies Family[]).flatMap((family) => {
    const address = addresses.find((candidate) => prefixFamily(candidate) === family);
    return address ? [{ interface: 0, address }] : [];
  });
}
