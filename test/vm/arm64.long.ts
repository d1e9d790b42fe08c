// flanneld for arm64, run: a guest of that architecture with three nodes, in which what depends on the machine is asked of the kernel and the processor themselves:
// netlink's messages, the C library's structures and ioctls, the packet loop's SIMD, threads, files. What goes on in there is arm64.sh. A second guest has the unit
// tests of what touches bytes. VM_VERBOSE shows what the guests say; ARM64_FLANNELD names the executable, by default that of `make build ARCH=arm64`.

import { beforeAll, describe, expect, test } from "bun:test";
import { join, resolve } from "node:path";
import { version } from "../../package.json";
import { FAMILIES } from "../../src/ip/family.ts";
import { DUAL_STACK } from "../e2e/nodes.ts";
import { readElf } from "./elf.ts";
import { type GuestResult, runGuest } from "./guest.ts";
import { everyPing, type NodesResult, runNodes } from "./nodes.ts";

const PROJECT = join(import.meta.dir, "../..");
const FLANNELD = resolve(process.env.ARM64_FLANNELD ?? join(PROJECT, "dist/arm64/flanneld"));
/** An emulated processor that others want too. */
const LIMIT_MS = 1_500_000;

const configWith = (backend: object) => ({ ...DUAL_STACK, EnableNFTables: true, Backend: backend });
const ipv4With = (backend: object) => ({ Network: DUAL_STACK.Network, EnableNFTables: true, Backend: backend });
const CONFIGS = {
  HOST_GW: configWith({ Type: "host-gw" }),
  WIREGUARD: configWith({ Type: "wireguard" }),
  IPIP: ipv4With({ Type: "ipip" }),
  UDP: ipv4With({ Type: "udp" }),
};

test("the executable is one for arm64", () => {
  expect(readElf(FLANNELD)?.machine).toBe("arm64");
});

describe("three nodes", () => {
  let nodes: NodesResult;

  beforeAll(async () => {
    const configs = Object.entries(CONFIGS).map(([name, config]) => [name, JSON.stringify(config)]);
    nodes = await runNodes({
      architecture: "arm64",
      flanneld: FLANNELD,
      script: join(import.meta.dir, "arm64.sh"),
      config: configWith({ Type: "vxlan" }),
      programs: ["nft", "wg"],
      modules: ["vxlan", "tun", "ipip", "wireguard", "nf_tables", "nft_ct", "nft_chain_nat", "nft_masq"],
      variables: { ...Object.fromEntries(configs), WAIT_S: 300, REACH_S: 120 },
      timeLimitMs: LIMIT_MS,
    });
  }, LIMIT_MS + 60_000);

  const lines = (name: string) => nodes.file(name).split("\n");
  /** "10.5.7" of node n. */
  const subnets = () => [1, 2, 3].map((n) => /^10\.5\.\d+/.exec(nodes.said("subnets")[n - 1] ?? "")?.[0]);

  test("the programs run on an arm64", () => {
    expect(nodes.said("machine")).toEqual(["aarch64", `flanneld ${version}`, `flannelctl ${version}`]);
  });

  test("flannel makes and removes a pod by its own bridge, and pods of two nodes reach each other", () => {
    const { interfaces, ips } = JSON.parse(nodes.file("cni-result"));
    expect(interfaces.map((each: { name: string }) => each.name.replace(/^veth.*/, "veth"))).toEqual([
      "cni0",
      "veth",
      "eth0",
    ]);
    expect(ips.map((each: { address: string }) => each.address)).toEqual([
      expect.stringMatching(/^10\.5\.\d+\.2\/24$/),
      expect.stringMatching(/^fd00:5:0:\w+::2\/64$/),
    ]);
    const ports = [1, 2].flatMap((n) => [`node ${n}: 1 ports`, `node ${n}: 0 ports after DEL`]);
    expect(nodes.said("cni")).toEqual(["1 > 2 ipv4: 3 of 3", "2 > 1 ipv6: 3 of 3", ...ports]);
  });

  test("vxlan: every pod reaches every other, and the device is as on any machine", () => {
    expect(nodes.said("vxlan")).toEqual(everyPing(FAMILIES));
    expect(nodes.file("link")).toMatch(
      / mtu 1450 .* vxlan id 1 local 192\.168\.77\.1 dev eth0 .* dstport 8472 nolearning /,
    );
    expect(nodes.file("status")).toContain('"phase": "ready"');
  });

  test("vxlan: what is damaged is repaired, and restarts lose no packet", () => {
    expect(nodes.said("drift").slice(0, 4)).toEqual([
      "route deleted: repaired",
      "device deleted: repaired",
      "forwarding database: repaired",
      "rules flushed: repaired",
    ]);
    const outcomes = ["TERM", "KILL"].flatMap((signal) => [`${signal} from: 0 lost`, `${signal} to: 0 lost`]);
    expect(nodes.said("loss")).toEqual(outcomes);
  });

  test("nftables has the rules of both families", () => {
    const rules = nodes.file("rules");
    expect(rules).toContain("table ip flannel-ipv4 {");
    expect(rules).toContain("table ip6 flannel-ipv6 {");
    expect(rules).toContain("masquerade");
  });

  test("flannelctl sees every lease, and nothing to do", () => {
    for (const n of [1, 2, 3]) expect(nodes.file("subnets")).toContain(`192.168.77.${n}`);
    expect(nodes.file("plan")).toContain("# nothing to do: ");
  });

  test.each([
    ["host-gw", FAMILIES],
    ["wireguard", FAMILIES],
    ["ipip", ["ipv4"]],
    ["udp", ["ipv4"]],
  ] as const)("%s: every pod reaches every other", (name, families) => {
    expect(nodes.said(name)).toEqual(everyPing(families));
  });

  test.each([
    ["vxlan", 1430],
    ["host-gw", 1500],
    ["wireguard", 1420],
    ["ipip", 1480],
    ["udp", 1472],
  ] as const)("%s: a packet as long as the MTU of pods goes in one piece, a longer one does not", (name, mtu) => {
    expect(nodes.said(`${name}-largest`)).toEqual([`${mtu}`, "1 > 2 ipv4: 3 of 3", "1 > 2 ipv4: 0 of 3"]);
  });

  test("host-gw: a route to each peer by its address", () => {
    for (const n of [1, 2, 3]) {
      const peers = [1, 2, 3].filter((other) => other !== n);
      const expected = peers.map((peer) => `${subnets()[peer - 1]}.0/24 via 192.168.77.${peer} dev eth0`);
      expect(lines(`routes-host-gw-${n}`)).toEqual(expected.sort());
    }
  });

  test("udp: TCP crosses the packet loop in large pieces and arrives whole, with checksums by SIMD", () => {
    expect(nodes.said("transfer")).toEqual(["1 > 2: 1310720 bytes, the same", "3 > 1: 1310720 bytes, the same"]);
    expect(nodes.said("udp-long")).toEqual(["1 > 2 ipv4: 3 of 3"]);
    const [loop = ""] = nodes.log(1, /packet loop dev flannel0/);
    expect(loop).toMatch(/passes TCP .*UDP_SEGMENT.*UDP_GRO.*checksums by SIMD/);
    const [, packets = 0, messages = 0] =
      /sent packets (\d+), .*sent messages (\d+)/.exec(nodes.log(1, /packetloop flannel0:/).at(-1) ?? "") ?? [];
    expect(Number(packets)).toBeGreaterThan(2 * Number(messages));
  });

  test("udp: a TUN device that is gone is made anew", () => {
    expect(nodes.said("drift").slice(4)).toEqual(["TUN device deleted: repaired"]);
    expect(nodes.said("udp-again")).toEqual(["2 > 1 ipv4: 3 of 3"]);
  });

  test("no flanneld found an error", () => {
    for (const n of [1, 2, 3]) expect(nodes.log(n, /^E|cannot/)).toEqual([]);
  });
});

describe("unit tests", () => {
  let guest: GuestResult;

  beforeAll(async () => {
    const folders = ["sys", "ip", "netlink", "dataplane", "packet_loop"];
    const isWanted = (path: string) => !path.endsWith(".test.ts") || folders.includes(path.split("/")[1] ?? "");
    // One of them asks a compiler of WebAssembly, which is no part of the program.
    const sources = [...new Bun.Glob("src/**/*.ts").scanSync(PROJECT)].filter(
      (path) => isWanted(path) && !path.endsWith("_generate.test.ts"),
    );
    const fixtures = [...new Bun.Glob("test/fixtures/**/*").scanSync(PROJECT)];
    const files = [...sources, ...fixtures, "package.json", "tsconfig.json"];
    // They want perl, and an executable that lies on a disk.
    const others = "^(?!.*(a pipe that does not block|dropStartupCode))";
    const command = `flanneld test --timeout 600000 -t '${others}' ${folders.map((name) => `./src/${name}`).join(" ")}`;
    guest = await runGuest({
      architecture: "arm64",
      // The executable holds the runtime whole, its test runner too.
      script: `cd /project; BUN_BE_BUN=1 ${command}`,
      programs: [FLANNELD],
      files: Object.fromEntries(files.map((path) => [`/project/${path}`, join(PROJECT, path)])),
      memoryMib: 2048,
      processors: 2,
      timeLimitMs: LIMIT_MS,
      onLine: process.env.VM_VERBOSE ? console.log : undefined,
    });
  }, LIMIT_MS + 60_000);

  test("of the C library's calls, netlink's messages and the packet path pass", () => {
    // It sees a terminal, and colours what it says.
    const text = Bun.stripANSI(guest.output);
    expect(text.match(/^(✗|\(fail\)|error:).*/gm) ?? []).toEqual([]);
    expect(Number(/^ *(\d+) pass$/m.exec(text)?.[1] ?? 0)).toBeGreaterThan(0);
    expect(guest.status).toBe(0);
  });
});
