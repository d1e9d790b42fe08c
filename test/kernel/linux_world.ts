// The real kernel as a World of the contract: a network namespace of its own, looked at and changed from outside by `ip` and `bridge`.

import { readFileSync, writeFileSync } from "node:fs";
import { parsePrefix } from "../../src/ip/prefix.ts";
import type { Ownership } from "../../src/kernel/ownership.ts";
import { RtnetlinkDriver } from "../../src/kernel/rtnetlink.ts";
import { SysctlDriver } from "../../src/kernel/sysctl.ts";
import type { Change } from "../../src/state/operation.ts";
import { printOperation } from "../../src/state/print.ts";
import { inNamespace } from "../../src/sys/netns.ts";
import type { World } from "./contract.ts";

let counter = 0;

export function run(command: string, input = ""): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync(["sh", "-c", command], { stdin: Buffer.from(input) });
  if (exitCode !== 0) throw new Error(`${command}: exit ${exitCode}: ${stderr.toString().trim()}`);
  return stdout.toString();
}

/** A network namespace that goes away with its owner. */
export class Namespace implements Disposable {
  readonly name = `flannel-test-${process.pid}-${counter++}`;
  readonly path = `/var/run/netns/${this.name}`;

  constructor() {
    run(`ip netns add ${this.name}`);
  }

  /** Runs shell commands inside. */
  run(commands: string): string {
    return run(`ip netns exec ${this.name} sh -ec '${commands.replaceAll("'", "'\\''")}'`);
  }

  [Symbol.dispose](): void {
    Bun.spawnSync(["ip", "netns", "delete", this.name]);
  }
}

/** eth0 of the contract; its other end eth0p keeps the carrier. */
export function addExternalInterface(namespace: Namespace): void {
  namespace.run(`
    ip link set lo up
    ip link add eth0 type veth peer name eth0p
    ip link set eth0p up
    ip link set eth0 up
    ip address add 192.168.77.1/24 dev eth0
    ip address add fd00:77::1/64 dev eth0 nodad
    ip route add default via 192.168.77.254
    ip -6 route add default via fd00:77::fe`);
}

const prefix = (text: string) =>
  parsePrefix(text) ??
  (() => {
    throw new Error(text);
  })();

export const OWNERSHIP: Ownership = {
  links: new Set(["flannel.1", "flannel-v6.1"]),
  networks: { ipv4: prefix("10.5.0.0/16"), ipv6: prefix("fd00:5::/48") },
};

export interface LinuxWorldOptions {
  readonly nexthopObjects?: boolean;
  readonly notificationBytes?: number;
  readonly patienceMs?: number;
}

export class LinuxWorld implements World {
  readonly namespace = new Namespace();
  readonly drivers: readonly [RtnetlinkDriver, SysctlDriver];
  readonly nexthopObjects: boolean;
  readonly patienceMs: number | undefined;

  constructor(options: LinuxWorldOptions = {}) {
    this.patienceMs = options.patienceMs;
    this.nexthopObjects = options.nexthopObjects ?? true;
    addExternalInterface(this.namespace);
    const { path } = this.namespace;
    const sysctls = new SysctlDriver(50, {
      read: (file) => inNamespace(path, () => readFileSync(`/proc/sys/${file}`, "utf8")),
      write: (file, value) => inNamespace(path, () => writeFileSync(`/proc/sys/${file}`, value)),
    });
    const rtnetlink = new RtnetlinkDriver({
      ownership: OWNERSHIP,
      nexthopObjects: this.nexthopObjects,
      namespace: path,
      onLinkGone: (name) => sysctls.linkGone(name),
      ...(options.notificationBytes !== undefined && { notificationBytes: options.notificationBytes }),
    });
    this.drivers = [rtnetlink, sysctls];
  }

  async outside(operation: Change): Promise<void> {
    const { object, verb } = operation;
    if (object.kind === "sysctl") {
      this.namespace.run(`echo ${object.value} > /proc/sys/${object.path}`);
      return;
    }
    // A route through a nexthop object is found by its destination alone.
    if (object.kind === "route" && verb === "delete")
      this.namespace.run(`ip ${familyOption(object.dst)} route delete ${object.dst}`);
    else this.namespace.run(printOperation(operation, ({ dev, gateway }) => this.#nexthopId(dev, gateway)));
  }

  async bounce(dev: string): Promise<void> {
    run(`ip -n ${this.namespace.name} -batch -`, `link set ${dev} down\nlink set ${dev} up\n`);
  }

  async stranger(): Promise<() => Promise<boolean>> {
    this.namespace.run(`
      ip link add flannel.7 type vxlan id 7 dev eth0 dstport 8472 && ip link set flannel.7 up
      ip neighbour add 10.7.2.0 lladdr 02:07:00:00:00:02 dev flannel.7 nud permanent
      ip nexthop add id 7 via 10.7.2.0 dev flannel.7 onlink proto 70
      ip route add 10.7.2.0/24 nhid 7 proto 70
      ip nexthop add id 8 via 192.168.77.8 dev eth0 proto zebra
      ip route add 10.8.0.0/16 nhid 8 proto zebra
      ip route add 10.99.0.0/16 via 192.168.77.9
      ip route add 10.5.200.0/24 via 192.168.77.9 metric 50`);
    const look = () =>
      this.namespace
        .run(
          "ip neighbour show dev flannel.7 nud permanent; ip nexthop; ip route | grep -v 10.5.[1-9].0; ip link show flannel.7 | wc -l",
        )
        .split("\n")
        .filter((line) => !line.includes("flannel.1"))
        .join("\n");
    const before = look();
    return async () => look() === before;
  }

  async unheard(work: () => Promise<void>): Promise<void> {
    await work();
    // More changes than the socket's buffer holds, before this thread reads the first.
    const noise = Array.from({ length: 3000 }, (_, i) => {
      const address = `192.168.77.${i % 200}`;
      return `neighbour add ${address} lladdr 02:00:00:00:00:01 dev eth0\nneighbour delete ${address} dev eth0\n`;
    });
    run(`ip -n ${this.namespace.name} -batch -`, noise.join(""));
  }

  async objects(): Promise<readonly string[]> {
    return readObjects(this.namespace);
  }

  #nexthopId(dev: string, gateway: string): number | undefined {
    const list = JSON.parse(this.namespace.run("ip -j nexthop")) as { id: number; dev: string; gateway: string }[];
    return list.find((nexthop) => nexthop.dev === dev && nexthop.gateway === gateway)?.id;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const driver of this.drivers) driver[Symbol.dispose]();
    this.namespace[Symbol.dispose]();
  }
}

function familyOption(dst: string): string {
  return dst.includes(":") ? "-6" : "-4";
}

/** What stands, as printObject words it, read through iproute2's JSON and not through our own codec. */
export function readObjects(namespace: Namespace): string[] {
  const lines: string[] = [];
  // One process for all: this runs in a loop.
  const [links, addresses, neighbours4, neighbours6, fdb, nexthops, routes4, routes6, raSysctl] = namespace
    .run(
      `ip -j -d link show type vxlan; echo @; ip -j address; echo @; ip -4 -j neighbour show nud permanent; echo @; ip -6 -j neighbour show nud permanent; echo @;
       bridge -j fdb; echo @; ip -j nexthop; echo @; ip -4 -j route; echo @; ip -6 -j route; echo @; cat /proc/sys/net/ipv6/conf/flannel-v6.1/accept_ra 2>/dev/null || true`,
    )
    .split("@\n");
  const json = (text: string | undefined) => JSON.parse(text?.trim() || "[]") as Record<string, never>[];
  const ours = (dev: string) => OWNERSHIP.links.has(dev);
  type Vxlan = { id: number; link?: string; local?: string; local6?: string; port: number; learning: boolean };
  type VxlanLink = { ifname: string; address: string; mtu: number; flags: string[]; linkinfo: { info_data: Vxlan } };
  for (const { ifname, address, mtu, flags, linkinfo } of json(links) as unknown as VxlanLink[]) {
    if (!ours(ifname)) continue;
    const { id, link, local, local6, port, learning } = linkinfo.info_data;
    const options = `id ${id} dev ${link} local ${local ?? local6} dstport ${port} ${learning ? "" : "no"}learning`;
    lines.push(`ip link add ${ifname} address ${address} mtu ${mtu} type vxlan ${options}`);
    if (flags.includes("UP")) lines.push(`link ${ifname} up`);
  }
  for (const { ifname, addr_info } of json(addresses) as unknown as {
    ifname: string;
    addr_info: { local: string; prefixlen: number; scope: string }[];
  }[]) {
    if (!ours(ifname)) continue;
    for (const { local, prefixlen, scope } of addr_info) {
      if (scope !== "link") lines.push(`address ${local}/${prefixlen} dev ${ifname}`);
    }
  }
  for (const { dst, dev, lladdr } of [...json(neighbours4), ...json(neighbours6)] as unknown as {
    dst: string;
    dev: string;
    lladdr: string;
  }[]) {
    if (ours(dev)) lines.push(`neighbour ${dst} lladdr ${lladdr} dev ${dev}`);
  }
  for (const { mac, ifname, dst, state } of json(fdb) as unknown as {
    mac: string;
    ifname: string;
    dst: string;
    state: string;
  }[]) {
    if (ours(ifname) && state === "permanent") lines.push(`fdb ${mac} dev ${ifname} dst ${dst}`);
  }
  type Nexthop = { id: number; gateway: string; dev: string; flags: string[] };
  for (const { gateway, dev, flags } of json(nexthops) as unknown as Nexthop[]) {
    if (ours(dev)) lines.push(`nexthop via ${gateway} dev ${dev}${flags.includes("onlink") ? " onlink" : ""}`);
  }
  type Route = { dst: string; gateway?: string; dev: string; flags: string[]; protocol: string };
  for (const { dst, gateway, dev, flags, protocol } of [...json(routes4), ...json(routes6)] as unknown as Route[]) {
    if (!ours(dev) || protocol === "kernel") continue;
    lines.push(`route ${dst} via ${gateway} dev ${dev}${flags.includes("onlink") ? " onlink" : ""}`);
  }
  if (raSysctl?.trim()) lines.push(`sysctl net/ipv6/conf/flannel-v6.1/accept_ra=${raSysctl.trim()}`);
  return lines.sort();
}
