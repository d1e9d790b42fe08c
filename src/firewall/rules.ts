// What flannel wants of the firewall. One body for both families and both tools; upstream's list (pkg/trafficmngr of v0.28) with its holes closed.
//
// A packet that leaves the host comes to the masquerade rules, the first that matches decides:
//
//   mark 0x4000                     return      kube-proxy masquerades it itself; twice would make port clashes
//   from network   to network       return      pod to pod, or from this node's overlay address: the source stays
//   from outside   to own subnet    return      host or peer to a pod of this node: the source stays, and network policy can see it
//   from network   to not multicast masquerade  pod to the world
//   from outside   to network       masquerade  what came for a NodePort and goes to a pod of another node: its answer must come back here
//
// upstream: returns only for its own subnet in the second; a packet in transit between two others' pods would lose its source.

import { familiesOf, type PerFamily } from "../ip/family.ts";
import { networkOf, type Prefix } from "../ip/prefix.ts";
import { MULTICAST, type PrefixMatch, type Rule, type RuleSet, type RuleTool, type Verdict } from "./rule.ts";

/** kube-proxy's mark for what it is going to masquerade (--iptables-masquerade-bit, 14 by default); other bits are others'. */
const KUBE_MARK = 0x4000;

export interface RuleOptions {
  /** --ip-masq */
  readonly masquerade: boolean;
  /** Source ports at random, against clashes of parallel connections; --ip-masq-fully-random-disable says no. */
  readonly fullyRandom: boolean;
  /** --iptables-forward-rules */
  readonly forward: boolean;
}

/** One set per family of the network; none when nothing is asked for. `subnets`: of the own lease. */
export function ruleSets(
  tool: RuleTool,
  networks: PerFamily<Prefix>,
  subnets: PerFamily<Prefix>,
  options: RuleOptions,
): RuleSet[] {
  if (!options.masquerade && !options.forward) return [];
  return familiesOf(networks).flatMap((family) => {
    const [network, subnet] = [networks[family], subnets[family]];
    if (!network) return [];
    const masquerade = options.masquerade
      ? { rules: masqueradeRules(network, subnet, MULTICAST[family], options.fullyRandom), hooked: true }
      : undefined;
    const forward = options.forward ? { rules: forwardRules(network), hooked: true } : undefined;
    return [{ kind: tool, family, chains: { masquerade, forward }, leftovers: [] }];
  });
}

function masqueradeRules(
  network: Prefix,
  subnet: Prefix | undefined,
  multicast: Prefix,
  fullyRandom: boolean,
): readonly Rule[] {
  const masquerade = fullyRandom ? "masquerade fully-random" : "masquerade";
  return [
    rule("return", { mark: KUBE_MARK }),
    rule("return", { from: is(network), to: is(network) }),
    ...(subnet ? [rule("return", { from: not(network), to: is(networkOf(subnet)) })] : []),
    rule(masquerade, { from: is(network), to: not(multicast) }),
    rule(masquerade, { from: not(network), to: is(network) }),
  ];
}

function forwardRules(network: Prefix): readonly Rule[] {
  return [rule("accept", { from: is(network) }), rule("accept", { to: is(network) })];
}

function rule(verdict: Verdict, { from, to, mark = 0 }: Partial<Pick<Rule, "from" | "to" | "mark">>): Rule {
  return { kind: "rule", from, to, mark, verdict };
}

const is = (prefix: Prefix): PrefixMatch => ({ prefix, not: false });
const not = (prefix: Prefix): PrefixMatch => ({ prefix, not: true });
