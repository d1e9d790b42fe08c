// What the tests of portmap share: a node's iptables in both variants, configurations as runtimes send them, and a generator of them.

import { mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import type { CallOptions, Host, Json } from "./runtime.ts";

/** Variants of iptables; the kernel has tables for each of them. */
export const FLAVOURS = ["nft", "legacy"] as const;
export type Flavour = (typeof FLAVOURS)[number];

export const NETWORK = "cbr0";

/** iptables in a node's namespace, of a variant for each family. */
export class Iptables {
  readonly options: CallOptions;
  readonly #host: Host;
  readonly #directory: string;

  constructor(host: Host, flavour: Flavour, flavour6 = flavour) {
    this.#host = host;
    this.#directory = join(host.directory, `${flavour}-${flavour6}`);
    mkdirSync(this.#directory);
    const programs = { iptables: flavour, ip6tables: flavour6 };
    for (const [program, flavour] of Object.entries(programs)) {
      for (const suffix of ["", "-save", "-restore"]) {
        symlinkSync(`/usr/sbin/${program}-${flavour}${suffix}`, join(this.#directory, program + suffix));
      }
    }
    this.options = { environment: { PATH: `${this.#directory}:${process.env.PATH}` } };
  }

  run(commands: string): string {
    return this.#host.namespace.run(`export PATH=${this.#directory}:$PATH\n${commands}`);
  }

  /** Table nat of both families, without counters, dates and chains that only the kernel's own are. */
  save(): string {
    const text = this.run("iptables-save -t nat; ip6tables-save -t nat");
    return text
      .split("\n")
      .filter((line) => !line.startsWith("#"))
      .map((line) => line.replace(/ \[\d+:\d+\]$/, ""))
      .join("\n");
  }

  flush(): void {
    this.run("for program in iptables ip6tables; do $program -t nat -F; $program -t nat -X; done");
  }
}

export function confOf(keys: Json, mappings: readonly Json[], prevResult?: Json): Json {
  return {
    cniVersion: "1.0.0",
    name: NETWORK,
    type: "portmap",
    capabilities: { portMappings: true },
    runtimeConfig: { portMappings: mappings },
    ...keys,
    ...(prevResult && { prevResult }),
  };
}

/** What bridge would have answered. */
export function resultOf(...addresses: readonly string[]): Json {
  return {
    cniVersion: "1.0.0",
    interfaces: [{ name: "cni0" }, { name: "veth0" }, { name: "eth0", sandbox: "/var/run/netns/pod" }],
    ips: addresses.map((address) => ({ address, interface: 2 })),
    dns: {},
  };
}

/** The same configurations in every run. */
export function generatedConfs(count: number): Json[] {
  const random = randomFrom(20_240_501);
  return Array.from({ length: count }, () => generatedConf(random));
}

type Random = (below: number) => number;

/** xorshift32. */
function randomFrom(seed: number): Random {
  let state = seed;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

function generatedConf(random: Random): Json {
  const pick = <T>(...values: readonly T[]) => values[random(values.length)] as T;
  const ipv4 = `10.${random(250)}.${random(250)}.${2 + random(250)}/${pick(16, 22, 24, 30)}`;
  const ipv6 = `fd00:${random(9999)}::${(1 + random(0xfffe)).toString(16)}/${pick(48, 64, 120)}`;
  const mappings = Array.from({ length: pick(0, 1, 1, 2, 3, 5, 18) }, () => ({
    hostPort: pick(53, 80, 443, 1 + random(65535), 1 + random(65535)),
    containerPort: 1 + random(65535),
    protocol: pick("tcp", "tcp", "udp", "sctp"),
    ...pick({}, {}, {}, { hostIP: "" }, { hostIP: "0.0.0.0" }, { hostIP: "::" }, { hostIP: "192.0.2.9" }),
    ...pick({}, {}, {}, { hostIP: "2001:db8::9" }, { hostIP: "2001:DB8:0::10" }, { hostIP: "::ffff:192.0.2.10" }),
  }));
  const keys = {
    name: pick("cbr0", "mynet", "a.b_c-d"),
    ...pick({}, {}, { snat: true }, { snat: false }),
    ...pick({}, {}, { markMasqBit: random(32) }, { externalSetMarkChain: "KUBE-MARK-MASQ" }),
    ...pick(
      {},
      {},
      { conditionsV4: ["!", "-s", "192.0.2.0/24"] },
      { conditionsV4: ["-i", "eth0", "!", "-d", "192.0.2.1"] },
    ),
    ...pick(
      {},
      {},
      { conditionsV6: ["-d", "2001:db8::/32"] },
      { conditionsV6: ["-m", "comment", "--comment", `it's "ours"`] },
    ),
  };
  return confOf(keys, mappings, resultOf(...pick([ipv4], [ipv6], [ipv4, ipv6], [ipv6, ipv4])));
}
