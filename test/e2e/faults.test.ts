// Bad input and hosts that cannot serve: flanneld ends with exit code 1 and a message that names what is wrong, what was got and what is wanted, and leaves
// nothing half made.

import { expect, test } from "bun:test";
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DUAL_STACK, NETWORK, type Node, Underlay } from "./nodes.ts";
import { Store } from "./store.ts";

interface Fault {
  readonly title: string;
  /** What all must be in the output. */
  readonly says: readonly string[];
  readonly config?: object | string;
  readonly flags?: readonly string[];
  readonly under?: readonly string[];
  /** Spoils the host. */
  readonly prepare?: (node: Node) => unknown;
  readonly storeFile?: (node: Node) => string;
}

const withBackend = (Backend: object) => ({ ...NETWORK, Backend });
/** Capabilities that even root has no more. */
const without = (...names: string[]) => {
  const list = names.map((name) => `-${name}`).join(",");
  return ["setpriv", `--bounding-set=${list}`, `--inh-caps=${list}`];
};

const FLAG_FAULTS: readonly Fault[] = [
  { title: "an unknown flag", flags: ["--ifcae=eth0"], says: ["--ifcae", "--iface"] },
  {
    title: "a bad value",
    flags: ["--healthz-port=web"],
    says: ['--healthz-port: got "web", want a whole number from 0 to 65535'],
  },
  {
    title: "several bad values at once",
    flags: ["--healthz-port=99999", "--subnet-lease-renew-margin=0", "--public-ip=host"],
    says: [
      '--healthz-port: got "99999", want a whole number from 0 to 65535',
      '--subnet-lease-renew-margin: got "0", want a whole number from 1 to 1439',
      '--public-ip: got "host", want an IPv4 address',
    ],
  },
  {
    title: "no such interface",
    flags: ["--iface=eth9"],
    says: ['--iface: got "eth9", want one of eth0 (192.168.77.1, fd00:77::1)'],
  },
  {
    title: "no interface that matches",
    flags: ["--iface-regex=^10\\."],
    says: ['--iface-regex: got "^10\\.", want a match in one of eth0'],
  },
  {
    title: "an expression that is none",
    flags: ["--iface-regex=("],
    says: ['--iface-regex: got "(", want a regular expression'],
  },
  {
    title: "an address out of reach",
    flags: ["--iface-can-reach=203.0.113.1"],
    prepare: (node) => node.run("ip route del default"),
    says: ["--iface-can-reach: got 203.0.113.1, want an address that this host has a route to"],
  },
];

const CONFIG_FAULTS: readonly Fault[] = [
  { title: "JSON that is none", config: "{", says: ["config"] },
  {
    title: "no Network",
    config: { Backend: { Type: "vxlan" } },
    says: ["config: Network: missing, want an IPv4 network"],
  },
  {
    title: "a SubnetMin outside",
    config: { ...NETWORK, SubnetMin: "10.6.0.0" },
    says: ['config: SubnetMin: got "10.6.0.0", want the first address of a /24 in 10.5.0.0/16'],
  },
  {
    title: "a SubnetMin that is no boundary",
    config: { ...NETWORK, SubnetMin: "10.5.1.7" },
    says: ['config: SubnetMin: got "10.5.1.7", want the first address of a /24 in 10.5.0.0/16'],
  },
  {
    title: "a SubnetMax before SubnetMin",
    config: { ...NETWORK, SubnetMin: "10.5.9.0", SubnetMax: "10.5.8.0" },
    says: ["config: SubnetMax: got 10.5.8.0, want an address not before SubnetMin 10.5.9.0"],
  },
  {
    title: "a SubnetLen out of range",
    config: { ...NETWORK, SubnetLen: 31 },
    says: ["config: SubnetLen: got 31, want 18 to 30"],
  },
  {
    title: "an unknown backend",
    config: withBackend({ Type: "vlxan" }),
    says: ['config: Backend.Type: got "vlxan", want a backend of this version: vxlan'],
  },
  {
    title: "a VNI out of range",
    config: withBackend({ Type: "vxlan", VNI: 16_777_216 }),
    says: ["store.db: config: Backend.VNI: got 16777216, want a whole number from 1 to 16777215"],
  },
  {
    title: "several faults of a configuration at once",
    config: { ...NETWORK, SubnetLen: 3, IPv6Network: 6, EnableIPv6: true, Backend: {} },
    says: [
      "config: SubnetLen: got 3, want 18 to 30",
      "config: IPv6Network: got 6, want text",
      'config: Backend.Type: missing, want a type such as "vxlan"',
    ],
  },
];

const HOST_FAULTS: readonly Fault[] = [
  {
    title: "no default route",
    prepare: (node) => node.run("ip route delete default"),
    says: ["external interface: missing, want a default route (ipv4), or --iface naming one of eth0 (192.168.77.1"],
  },
  {
    title: "dual stack without a default route in IPv6",
    config: DUAL_STACK,
    prepare: (node) => node.run("ip -6 route delete default"),
    says: ["want one interface with a default route in each of ipv4 and ipv6"],
  },
  {
    title: "no CAP_NET_ADMIN",
    under: without("net_admin"),
    says: ["privileges: got a process without CAP_NET_ADMIN, want root, or the capabilities NET_ADMIN and NET_RAW"],
  },
  {
    title: "a VNI that another device has",
    prepare: (node) => node.run("ip link add vx type vxlan id 1 dev eth0 dstport 8472"),
    says: ["cannot add link flannel.1: EEXIST", "VNI 1 on port 8472", "Backend.VNI"],
  },
  {
    title: "a bridge under the device's name",
    prepare: (node) => node.run("ip link add flannel.1 type bridge"),
    says: ["cannot add link flannel.1: EEXIST", "another link has the name flannel.1"],
  },
  {
    title: "a UDP port that another program has",
    prepare: async (node) => {
      const socket = "await Bun.udpSocket({ hostname: '0.0.0.0', port: 8472 }); console.log('bound');";
      await node.spawn([process.execPath, "-e", socket]).says(/bound/);
    },
    says: ["cannot add link flannel.1 up: EADDRINUSE", "UDP port 8472", "Backend.Port"],
  },
  {
    title: "a health port that another program has",
    flags: ["--healthz-port=8081"],
    prepare: async (node) => {
      const server = "Bun.listen({ hostname: '0.0.0.0', port: 8081, socket: { data() {} } }); console.log('bound');";
      await node.spawn([process.execPath, "-e", server]).says(/bound/);
    },
    says: ["--healthz-port: got 0.0.0.0:8081", "want an address and port that are free"],
  },
];

/** A path beside the good store. */
function beside(node: Node, name: string): string {
  mkdirSync(node.directory, { recursive: true });
  return join(node.directory, name);
}

const STORE_FAULTS: readonly Fault[] = [
  {
    title: "a store in a directory whose parent is missing too",
    storeFile: (node) => beside(node, "missing/deeper/store.db"),
    says: ["cannot open store", "missing/deeper/store.db: ENOENT", "make its directory"],
  },
  {
    title: "a store that is a directory",
    prepare: (node) => mkdirSync(beside(node, "store")),
    storeFile: (node) => beside(node, "store"),
    says: ["cannot open store", "it is a directory"],
  },
  {
    title: "a store that may not be read",
    under: without("dac_override", "dac_read_search"),
    prepare: async (node) => {
      const path = beside(node, "closed.db");
      (await Store.open(path))[Symbol.dispose]();
      chownSync(path, 1, 1);
      chmodSync(path, 0o600);
    },
    storeFile: (node) => beside(node, "closed.db"),
    says: ["cannot open store", "flanneld needs to"],
  },
  {
    title: "a store that is no store",
    prepare: (node) => writeFileSync(beside(node, "text.db"), "This is no database, and long enough.\n".repeat(40)),
    storeFile: (node) => beside(node, "text.db"),
    says: ["text.db", "it is not a store: give another --store-file, or move it away"],
  },
  {
    title: "a damaged store",
    prepare: async (node) => {
      const path = beside(node, "damaged.db");
      {
        using store = await Store.open(path);
        await store.configure(NETWORK);
      }
      writeFileSync(path, readFileSync(path).fill(0xaa, 4096));
    },
    storeFile: (node) => beside(node, "damaged.db"),
    says: ["damaged.db", "it is damaged: restore a copy"],
  },
];

test.each(
  [...FLAG_FAULTS, ...CONFIG_FAULTS, ...HOST_FAULTS, ...STORE_FAULTS].map((fault) => [fault.title, fault] as const),
)("flanneld: %s", async (_title, fault) => {
  await using underlay = await Underlay.open({ nodes: 1, config: undefined });
  await underlay.store.configure(fault.config ?? NETWORK);
  const node = underlay.node(1);
  await fault.prepare?.(node);
  const linksBefore = node.run("ip -o link");
  const storeFile = fault.storeFile?.(node);
  const { flags = [], under = [] } = fault;
  const flanneld = node.flanneld({ flags, under, ...(storeFile && { storeFile }) });
  const code = await flanneld.exit();
  for (const text of fault.says) expect(flanneld.output).toContain(text);
  expect(code).toBe(1);
  expect(existsSync(node.subnetFile)).toBe(false);
  expect(node.run("ip -o link")).toBe(linksBefore);
});
