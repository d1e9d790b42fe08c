// `ipMasq`: packets of the container to outside of its subnet leave with the node's address. One chain for each container, in the form and with the name
// and comment of the reference plugin, so that either removes what the other made. Rare: flanneld masquerades for the whole network at once, and the flannel
// plugin then sets ipMasq false.
//
//   -A POSTROUTING -s 10.5.1.7/32 -j CNI-…       -m comment --comment "name: \"NETWORK\" id: \"CONTAINER\""
//   -A CNI-…       -d 10.5.1.0/24 -j ACCEPT
//   -A CNI-…       ! -d 224.0.0.0/4 -j MASQUERADE

import { FAMILIES, type Family } from "../../ip/family.ts";
import { type Prefix, prefixAddress, prefixFamily } from "../../ip/prefix.ts";
import { CNI_CODE, CniError } from "../cni_error.ts";

const PROGRAM: Readonly<Record<Family, string>> = { ipv4: "iptables", ipv6: "ip6tables" };
const MULTICAST: Readonly<Record<Family, string>> = { ipv4: "224.0.0.0/4", ipv6: "ff00::/8" };
/** Of a chain's name (xt_TABLE_MAXNAMELEN and what the reference plugins leave of it). */
const CHAIN_LENGTH = 28;

/** Adds the rules for each of `addresses`. Throws CniError. */
export function addMasquerade(network: string, containerId: string, addresses: readonly Prefix[]): void {
  const chain = chainOf(network, containerId);
  const comment = `-m comment --comment ${quoted(commentOf(network, containerId))}`;
  for (const family of FAMILIES) {
    const own = addresses.filter((address) => prefixFamily(address) === family);
    if (own.length === 0) continue;
    const rules = own.flatMap((address) => [
      `-A ${chain} -d ${address} -j ACCEPT ${comment}`,
      `-A ${chain} ! -d ${MULTICAST[family]} -j MASQUERADE ${comment}`,
      `-A POSTROUTING -s ${prefixAddress(address)} -j ${chain} ${comment}`,
    ]);
    // The line with ":" makes the chain, or empties it.
    restore(family, [`:${chain} - [0:0]`, ...new Set(rules)]);
  }
}

/** Removes the rules of one container, whatever addresses they are for. Throws CniError. */
export function removeMasquerade(network: string, containerId: string): void {
  const chain = chainOf(network, containerId);
  removeChains((name) => name === chain);
}

/** Removes the rules of the containers of `network` that are not in `valid`. Throws CniError. */
export function removeStaleMasquerade(network: string, valid: readonly string[]): void {
  const kept = new Set(valid.map((containerId) => chainOf(network, containerId)));
  const mark = `name: ${goQuoted(network)} id: `;
  removeChains((name, rule) => !kept.has(name) && rule.includes(quoted(mark).slice(1, -1)));
}

function removeChains(isStale: (chain: string, rule: string) => boolean): void {
  for (const family of FAMILIES) {
    const saved = run(`${PROGRAM[family]}-save`, ["-t", "nat"]);
    if (saved === undefined) continue; // not installed: it made no rule either
    const lines = saved.split("\n");
    const jumps = lines.filter((line) => isStale(/^-A POSTROUTING .*-j (CNI-\w+)/.exec(line)?.[1] ?? "", line));
    const declared = lines.flatMap((line) => /^:(CNI-\w+) /.exec(line)?.[1] ?? []);
    // A chain whose jump is gone is known by its rules, or by its name when it is empty.
    const rulesOf = (chain: string) => lines.filter((line) => line.startsWith(`-A ${chain} `)).join("\n");
    const chains = declared.filter((chain) => isStale(chain, rulesOf(chain)));
    if (jumps.length + chains.length === 0) continue;
    restore(family, [
      ...chains.map((chain) => `:${chain} - [0:0]`),
      ...jumps.map((line) => `-D${line.slice(2)}`),
      ...chains.map((chain) => `-X ${chain}`),
    ]);
  }
}

export function chainOf(network: string, containerId: string): string {
  const hash = new Bun.CryptoHasher("sha512").update(network + containerId).digest("hex");
  return `CNI-${hash}`.slice(0, CHAIN_LENGTH);
}

function commentOf(network: string, containerId: string): string {
  return `name: ${goQuoted(network)} id: ${goQuoted(containerId)}`;
}

/** As Go's %q prints the names that CNI allows. */
function goQuoted(text: string): string {
  return JSON.stringify(text);
}

/** For a line of iptables-restore. */
function quoted(text: string): string {
  return `"${text.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
}

function restore(family: Family, lines: readonly string[]): void {
  const program = `${PROGRAM[family]}-restore`;
  const text = ["*nat", ...lines, "COMMIT", ""].join("\n");
  if (run(program, ["--noflush", "--wait"], text) === undefined) {
    throw new CniError(
      CNI_CODE.internal,
      `cannot set up masquerading: there is no ${program} in PATH; install iptables, or set "ipMasq" to false`,
    );
  }
}

/** Its output; undefined when the program is not installed. */
function run(program: string, args: readonly string[], stdin = ""): string | undefined {
  const path = Bun.which(program);
  if (path === null) return undefined;
  const { exitCode, stdout, stderr } = Bun.spawnSync([path, ...args], { stdin: Buffer.from(stdin) });
  if (exitCode !== 0) {
    throw new CniError(
      CNI_CODE.internal,
      `cannot change the masquerading: ${program} failed with ${exitCode}: ${stderr.toString().trim()}`,
    );
  }
  return stdout.toString();
}
