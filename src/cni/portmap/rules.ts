// The rules behind published ports, in table nat. Names, texts and order are those of the reference plugin, so that each of the two finds what the other made:
//
//   PREROUTING, OUTPUT → CNI-HOSTPORT-DNAT → CNI-DN-<hash>, one per container: mark what must come back through us, then DNAT to the container
//   POSTROUTING → CNI-HOSTPORT-MASQ: masquerade what CNI-HOSTPORT-SETMARK has marked
//
// Pure: text in, text out. Rules have the form in which iptables-save writes them (iptables.ts).

import { createHash } from "node:crypto";
import { familyOf } from "../../ip/address.ts";
import type { Family } from "../../ip/family.ts";
import { networkOf, type Prefix, prefixAddress, prefixFamily } from "../../ip/prefix.ts";
import { argumentsOf, quoteArgument } from "../iptables.ts";
import type { PortMapping, PortmapConf, Protocol } from "./conf.ts";

export const TABLE = "nat";
/** Where every container has its entries. */
export const ENTRY_CHAIN = "CNI-HOSTPORT-DNAT";
const SETMARK_CHAIN = "CNI-HOSTPORT-SETMARK";
const MASQ_CHAIN = "CNI-HOSTPORT-MASQ";
const CONTAINER_CHAIN = "CNI-DN-";

/** XT_EXTENSION_MAXNAMELEN of linux/netfilter/x_tables.h, less its NUL. */
const MAX_CHAIN_NAME = 28;
/** XT_MAX_COMMENT_LEN of linux/netfilter/xt_comment.h, less its NUL. */
const MAX_COMMENT = 255;
/** XT_MULTI_PORTS of linux/netfilter/xt_multiport.h. */
const MAX_MULTIPORT = 15;

export interface Rule {
  readonly chain: string;
  readonly text: string;
  /** At the chain's head, where others are appended. */
  readonly first?: true;
}

/** Whose ports they are. */
export interface Owner {
  /** Of the network. */
  readonly name: string;
  readonly containerId: string;
}

/** Chains that must be there, in the order of their making, and the rules that must be in them. */
export interface RuleSet {
  readonly chains: readonly string[];
  readonly rules: readonly Rule[];
}

/** `container`: its address with the length of its network, 10.5.1.7/24. */
export function rulesFor(owner: Owner, conf: PortmapConf, container: Prefix): RuleSet {
  const family = prefixFamily(container);
  const chain = containerChain(owner);
  const ownMark = conf.snat && conf.externalSetMarkChain === undefined;
  return {
    chains: [...(ownMark ? [SETMARK_CHAIN, MASQ_CHAIN] : []), ENTRY_CHAIN, chain],
    rules: [
      ...(ownMark ? markRules(conf.markMasqBit) : []),
      { chain: "PREROUTING", text: `-m addrtype --dst-type LOCAL -j ${ENTRY_CHAIN}` },
      { chain: "OUTPUT", text: `-m addrtype --dst-type LOCAL -j ${ENTRY_CHAIN}` },
      ...conf.mappings
        .filter((mapping) => isFor(mapping, family))
        .flatMap((m) => mappingRules(chain, conf, m, container)),
      ...entryRules(owner, conf, family),
    ],
  };
}

/** Whether a mapping publishes a port of this family. */
export function isFor({ hostIp }: PortMapping, family: Family): boolean {
  return hostIp === undefined || familyOf(hostIp) === family;
}

export function isUnspecified(address: string): boolean {
  return address === "0.0.0.0" || address === "::";
}

/** One chain for all interfaces of a container in a network. */
export function containerChain({ name, containerId }: Owner): string {
  const hash = createHash("sha512")
    .update(name + containerId)
    .digest("hex");
  return `${CONTAINER_CHAIN}${hash}`.slice(0, MAX_CHAIN_NAME);
}

/** The container chain that an entry rule leads to. */
export function entryTarget(rule: string): string | undefined {
  const [, target] = / -j (\S+)$/.exec(rule) ?? [];
  return target?.startsWith(CONTAINER_CHAIN) ? target : undefined;
}

/** The network's name that an entry rule carries in its comment. */
export function entryNetwork(rule: string): string | undefined {
  const words = argumentsOf(rule);
  const comments = words.flatMap((word, i) => (words[i - 1] === "--comment" ? [word] : []));
  for (const comment of comments) {
    const [, name] = /^dnat name: "([^"]*)" id: "/.exec(comment) ?? [];
    if (name !== undefined) return name;
  }
  return undefined;
}

function markRules(bit: number): Rule[] {
  const mark = `0x${(2 ** bit).toString(16)}`;
  const setMark = `-m comment --comment "CNI portfwd masquerade mark" -j MARK --set-xmark ${mark}/${mark}`;
  const jump = `-m comment --comment "CNI portfwd requiring masquerade" -j ${MASQ_CHAIN}`;
  return [
    { chain: SETMARK_CHAIN, text: setMark },
    { chain: MASQ_CHAIN, text: `-m mark --mark ${mark}/${mark} -j MASQUERADE` },
    { chain: "POSTROUTING", text: jump, first: true },
  ];
}

function mappingRules(chain: string, conf: PortmapConf, mapping: PortMapping, container: Prefix): Rule[] {
  const { hostPort, containerPort, protocol, hostIp } = mapping;
  const address = prefixAddress(container);
  const ipv6 = prefixFamily(container) === "ipv6";
  const to = hostIp === undefined || isUnspecified(hostIp) ? "" : `-d ${hostIp}/${ipv6 ? 128 : 32} `;
  const match = `${to}-p ${protocol} -m ${protocol} --dport ${hostPort}`;
  const mark = `${match} -j ${conf.externalSetMarkChain ?? SETMARK_CHAIN}`;
  // From the container's own network and, by IPv4, from the host's loopback the container would answer past us.
  const fromNetwork = { chain, text: `-s ${networkOf(container)} ${mark}` };
  const fromLoopback = { chain, text: `-s 127.0.0.1/32 ${mark}` };
  const translate = {
    chain,
    text: `${match} -j DNAT --to-destination ${ipv6 ? `[${address}]` : address}:${containerPort}`,
  };
  return [...(conf.snat ? [fromNetwork, ...(ipv6 ? [] : [fromLoopback])] : []), translate];
}

/** One rule per protocol and 15 ports, of all mappings, whichever family they are for. */
function entryRules(owner: Owner, conf: PortmapConf, family: Family): Rule[] {
  const comment = quoteArgument(entryComment(owner));
  const ports = new Map<Protocol, number[]>();
  for (const { protocol, hostPort } of conf.mappings) {
    const list = ports.get(protocol) ?? [];
    ports.set(protocol, list);
    list.push(hostPort);
  }
  return [...ports]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([protocol, list]) =>
      inGroups(list, MAX_MULTIPORT).map((group) => {
        const match = `-p ${protocol} -m comment --comment ${comment} -m multiport --dports ${group.join(",")}`;
        const text = [match, ...conf.conditions[family].map(quoteArgument), `-j ${containerChain(owner)}`].join(" ");
        return { chain: ENTRY_CHAIN, text };
      }),
    );
}

function entryComment({ name, containerId }: Owner): string {
  const comment = `dnat name: "${name}" id: "${containerId}"`;
  return comment.length <= MAX_COMMENT ? comment : `${comment.slice(0, MAX_COMMENT - 2)}..`;
}

function inGroups<T>(list: readonly T[], size: number): T[][] {
  const groups: T[][] = [];
  for (let i = 0; i < list.length; i += size) groups.push(list.slice(i, i + size));
  return groups;
}
