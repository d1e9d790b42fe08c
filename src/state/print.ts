// Every operation as the command of iproute2, nft or iptables that would do it. The log, the tests, `flannelctl plan` and error messages all speak through this printer.

import { IPTABLES, iptablesLines } from "../firewall/iptables.ts";
import { nftLines } from "../firewall/nftables.ts";
import type { RuleSet } from "../firewall/rule.ts";
import {
  type Blackhole,
  differences,
  isNetworkObject,
  isRuleSet,
  type KernelObject,
  type Link,
  type LinkInfo,
  type NetworkObject,
  type Nexthop,
  type Route,
} from "./object.ts";
import type { Change } from "./operation.ts";
import { backendCommands, effectChange, printBackendObject } from "./print_backend.ts";

/** Our mark on routes and nexthops, `proto 70` (rtnetlink(7): above RTPROT_STATIC, unassigned in /etc/iproute2/rt_protos). */
export const ROUTE_PROTOCOL = 70;

/** Of blackholes: above what anybody gives a route that leads somewhere, so that each such route wins. */
export const BLACKHOLE_METRIC = 65_535;

/** Ids of nexthop objects, which only the kernel driver knows; without it routes print in their plain form. */
export type NexthopIds = (nexthop: { readonly dev: string; readonly gateway: string }) => number | undefined;

const NO_IDS: NexthopIds = () => undefined;

/** What follows upstream's names of tables and chains where those are another flannel's; only the kernel driver knows. */
export type RuleSuffix = (set: RuleSet) => string;

const NO_SUFFIX: RuleSuffix = () => "";

/** The commands of one operation, one a line; "" for a nexthop whose id is not known. */
export function printOperation(
  operation: Change,
  ids: NexthopIds = NO_IDS,
  ruleSuffix: RuleSuffix = NO_SUFFIX,
): string {
  const { object, verb } = operation;
  if (isRuleSet(object)) return ruleCommands(operation, ruleSuffix(object));
  if (verb === "change" && object.kind === "command" && operation.actual.kind === "command") {
    return effectChange(object, operation.actual);
  }
  if (!isNetworkObject(object)) return backendCommands(object, verb);
  switch (verb) {
    case "delete":
      return deletion(object, ids);
    case "recreate":
      return `${deletion(operation.actual, ids)}\n${making(object, ids)}`;
    case "change":
      return object.kind === "link" && operation.actual.kind === "link"
        ? linkChange(object, operation.actual)
        : making(object, ids);
    case "add":
      return making(object, ids);
  }
}

/** An object in iproute2's words, as error messages name it: `route 10.5.2.0/24 via 10.5.2.0 dev flannel.1 onlink`. */
export function printObject(object: KernelObject): string {
  switch (object.kind) {
    case "link":
      return `link ${object.name}`;
    case "up":
      return `link ${object.dev} up`;
    case "sysctl":
      return `sysctl ${object.path}=${object.value}`;
    case "address":
      return `address ${object.address} dev ${object.dev}`;
    case "neighbour":
      return `neighbour ${object.address} lladdr ${object.mac} dev ${object.dev}`;
    case "fdb":
      return `fdb ${object.mac} dev ${object.dev} dst ${object.dst}`;
    case "nexthop":
      return `nexthop via ${object.gateway} dev ${object.dev}${object.onlink ? " onlink" : ""}`;
    case "route":
      return `route ${object.dst} ${via(object)}`;
    case "blackhole":
      return `route blackhole ${object.dst}`;
    case "nftables":
    case "iptables":
      return `${object.kind} rules of ${object.family}`;
    default:
      return printBackendObject(object);
  }
}

function ruleCommands(operation: Change, suffix: string): string {
  const { verb } = operation;
  const desired = verb === "delete" ? undefined : (operation.object as RuleSet);
  const actual = verb === "add" ? undefined : ((verb === "change" ? operation.actual : operation.object) as RuleSet);
  const { kind, family } = operation.object as RuleSet;
  // nft's lines hold braces and ampersands, which are the shell's too.
  const commands =
    kind === "nftables"
      ? nftLines(desired, actual, suffix).map((line) => `nft '${line}'`)
      : iptablesLines(desired, actual, suffix).map((line) => `${IPTABLES[family]} ${line}`);
  return commands.join("\n");
}

function making(object: NetworkObject, ids: NexthopIds): string {
  switch (object.kind) {
    case "link":
      return linkMaking(object);
    case "up":
      return `ip link set ${object.dev} up`;
    case "sysctl":
      return `sysctl -w ${object.path}=${object.value}`;
    case "address":
      return `ip address replace ${object.address} dev ${object.dev}${object.address.includes(":") ? " nodad" : ""}`;
    case "neighbour":
      return `ip neighbour replace ${object.address} lladdr ${object.mac} dev ${object.dev} nud permanent`;
    case "fdb":
      return `bridge fdb replace ${object.mac} dev ${object.dev} dst ${object.dst} self permanent`;
    case "nexthop": {
      const id = ids(object);
      return id === undefined ? "" : `ip nexthop replace id ${id} ${via(object)} proto ${ROUTE_PROTOCOL}`;
    }
    case "route":
      return `ip route replace ${object.dst} ${hop(object, ids)} proto ${ROUTE_PROTOCOL}`;
    case "blackhole":
      return `ip route replace ${blackhole(object)}`;
  }
}

function deletion(object: NetworkObject, ids: NexthopIds): string {
  switch (object.kind) {
    case "link":
      return `ip link delete ${object.name}`;
    case "up":
      return `ip link set ${object.dev} down`;
    case "sysctl":
      return ""; // a sysctl has no absence: nothing to do
    case "address":
      return `ip address delete ${object.address} dev ${object.dev}`;
    case "neighbour":
      return `ip neighbour delete ${object.address} dev ${object.dev}`;
    case "fdb":
      return `bridge fdb delete ${object.mac} dev ${object.dev} dst ${object.dst} self`;
    case "nexthop": {
      const id = ids(object);
      return id === undefined ? "" : `ip nexthop delete id ${id}`;
    }
    case "route":
      return `ip route delete ${object.dst} ${hop(object, ids)}`;
    case "blackhole":
      return `ip route delete ${blackhole(object)}`;
  }
}

function linkChange(desired: Link, actual: Link): string {
  const lines = differences(desired, actual).map((name) => {
    switch (name) {
      case "mac":
        return `ip link set ${desired.name} address ${desired.mac}`;
      case "mtu":
        return `ip link set ${desired.name} mtu ${desired.mtu}`;
      case "learning":
        return `ip link set ${desired.name} type vxlan ${desired.info.type === "vxlan" && desired.info.learning ? "" : "no"}learning`;
      default:
        return `ip link set ${desired.name} ${name}`;
    }
  });
  return lines.join("\n");
}

function linkMaking({ name, mac, mtu, info }: Link): string {
  if (info.type === "tun") return `ip tuntap add ${name} mode tun\nip link set ${name} mtu ${mtu}`;
  return `ip link add ${name} ${mac ? `address ${mac} ` : ""}mtu ${mtu} ${linkOptions(info)}`;
}

function linkOptions(info: Exclude<LinkInfo, { type: "tun" }>): string {
  switch (info.type) {
    case "vxlan": {
      const learning = info.learning ? "learning" : "nolearning";
      const gbp = info.gbp ? " gbp" : "";
      return `type vxlan id ${info.vni} dev ${info.parent} local ${info.local} dstport ${info.port} ${learning}${gbp}`;
    }
    case "ipip":
      return `type ipip mode ipip ${info.parent ? `dev ${info.parent} ` : ""}local ${info.local} remote ${info.remote ?? "any"} nopmtudisc`;
    case "wireguard":
      return "type wireguard";
  }
}

function via(object: Nexthop | Route): string {
  const gateway = object.gateway ? `via ${object.gateway} ` : "";
  return `${gateway}dev ${object.dev}${object.onlink ? " onlink" : ""}`;
}

function blackhole({ dst }: Blackhole): string {
  return `blackhole ${dst} metric ${BLACKHOLE_METRIC} proto ${ROUTE_PROTOCOL}`;
}

function hop(route: Route, ids: NexthopIds): string {
  const { gateway, dev } = route;
  const id = route.form === "object" && gateway ? ids({ dev, gateway }) : undefined;
  return id === undefined ? via(route) : `nhid ${id}`;
}
