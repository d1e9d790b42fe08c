// The container's end of the cable: addresses, up, routes, all in one batch to the kernel.

import { type Address, parseAddress } from "../../ip/address.ts";
import { type Prefix, parsePrefix, prefixFamily } from "../../ip/prefix.ts";
import { putAddress } from "../../netlink/address.ts";
import { AnswerError } from "../../netlink/error.ts";
import { changeLink, deleteLink } from "../../netlink/link.ts";
import { findLinkBrief, type LinkBrief } from "../../netlink/link_brief.ts";
import { putRoute, RT_SCOPE_UNIVERSE } from "../../netlink/route.ts";
import { RequestSocket } from "../../netlink/socket.ts";
import type { MessageWriter } from "../../netlink/writer.ts";
import { inNamespace } from "../../sys/netns.ts";
import { CNI_CODE, CniError } from "../cni_error.ts";
import type { ResultRoute } from "../result.ts";
import { preferSysctl, setSysctl } from "../sysctl.ts";
import type { Addressing } from "./gateways.ts";
import { newAddress } from "./new_address.ts";

/** One thing to be done, and how an error begins when the kernel refuses it. */
interface Step {
  readonly failure: string;
  write(writer: MessageWriter): void;
}

/** Sets up `ifname` in the namespace at `netns` and answers what it is then; without addressing it is only set up. */
export function configureContainer(netns: string, ifname: string, addressing: Addressing | undefined): LinkBrief {
  return inNamespace(netns, () => {
    using socket = new RequestSocket();
    const link = findLinkBrief(socket, { name: ifname });
    if (!link) throw new CniError(CNI_CODE.internal, `cannot find ${ifname} in ${netns}: it was removed meanwhile`);
    const up: Step = {
      failure: `failed to set "${ifname}" UP`,
      write: (writer) => changeLink(writer, link.index, { up: true }),
    };
    const steps: Step[] = [];
    if (addressing) {
      prepareFamilies(ifname, addressing.addresses);
      for (const address of addressing.addresses) steps.push(addressStep(link, address));
    }
    steps.push(up);
    if (addressing) for (const route of addressing.routes) steps.push(routeStep(link, route, addressing));
    const outcomes = socket.batch((writer) => {
      for (const step of steps) step.write(writer);
    });
    for (const [i, refusal] of outcomes.entries()) {
      if (refusal) throw new CniError(CNI_CODE.internal, `${steps[i]?.failure}: ${new AnswerError(refusal).message}`);
    }
    return link;
  });
}

/** Removes `ifname` from the namespace at `netns`. Its other end goes with it. */
export function removeFromContainer(netns: string, ifname: string): void {
  inNamespace(netns, () => {
    using socket = new RequestSocket();
    socket.request((writer) => deleteLink(writer, { name: ifname }));
  });
}

function prepareFamilies(ifname: string, addresses: readonly Prefix[]): void {
  let hasIpv6 = false;
  for (const address of addresses) if (prefixFamily(address) === "ipv6") hasIpv6 = true;
  if (hasIpv6) {
    // An address is used at once: whether another host has it was settled when it was given.
    preferSysctl(`ipv6/conf/${ifname}/accept_dad`, "0");
    // Runtimes switch IPv6 off in a new namespace; whoever gives an IPv6 address wants it on.
    for (const name of ["lo", ifname]) setSysctl(`ipv6/conf/${name}/disable_ipv6`, "0");
  }
  // Neighbours that knew the address of a container before learn the new MAC when the link goes up.
  preferSysctl(`ipv4/conf/${ifname}/arp_notify`, "1");
}

function addressStep({ index, name }: LinkBrief, address: Prefix): Step {
  return {
    failure: `failed to add IP addr ${address} to "${name}"`,
    write: (writer) => putAddress(writer, newAddress(index, address), "add"),
  };
}

function routeStep({ index, name }: LinkBrief, route: ResultRoute, { through }: Addressing): Step {
  const dst = parsePrefix(route.dst);
  const given = route.gw === undefined ? undefined : parseAddress(route.gw);
  if (!dst || (route.gw !== undefined && !given)) {
    throw new CniError(CNI_CODE.internal, `cannot use what IPAM answered: got route ${JSON.stringify(route)}`);
  }
  const gateway: Address | undefined = given ?? through[prefixFamily(dst)];
  return {
    failure: `failed to add route '${dst} via ${gateway} dev ${name}'`,
    write: (writer) =>
      putRoute(
        writer,
        {
          dst,
          oif: index,
          scope: route.scope ?? RT_SCOPE_UNIVERSE,
          ...(gateway && { gateway }),
          ...(route.mtu !== undefined && { mtu: route.mtu }),
          ...(route.advmss !== undefined && { advmss: route.advmss }),
          ...(route.priority !== undefined && { priority: route.priority }),
          ...(route.table !== undefined && { table: route.table }),
        },
        "prepend",
      ),
  };
}
