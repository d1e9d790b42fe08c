// The wireguard backend on a kernel that has WireGuard: what goes on in the guests is wireguard.sh and wireguard_modes.sh. VM_VERBOSE shows what they say.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { FAMILIES } from "../../src/ip/family.ts";
import { GO_FLANNELS } from "../e2e/go_flannel.ts";
import { DUAL_STACK } from "../e2e/nodes.ts";
import { everyPing, type NodesOptions, type NodesResult, runNodes } from "./nodes.ts";
import { expectedWire, KEEPALIVE_S, PSK, WIREGUARD, wireOf } from "./wire.ts";

const LIMIT_MS = 500_000;

const directory = mkdtempSync(join(tmpdir(), "flannel-wireguard-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** A network configuration with this backend. */
const configWith = (backend: object) => ({ ...DUAL_STACK, Backend: backend });

const guest = (
  script: string,
  backend: object,
  variables: Readonly<Record<string, string>> = {},
  more: Partial<NodesOptions> = {},
) =>
  runNodes({
    script: join(import.meta.dir, script),
    config: configWith(backend),
    modules: ["wireguard", "vxlan"],
    variables,
    timeLimitMs: LIMIT_MS,
    ...more,
    programs: ["wg", ...(more.programs ?? [])],
  });

describe("mode separate", () => {
  let nodes: NodesResult;

  beforeAll(async () => {
    const backend = { Type: "wireguard", PSK, PersistentKeepaliveInterval: KEEPALIVE_S };
    nodes = await guest("wireguard.sh", backend, { PSK });
  }, LIMIT_MS + 10_000);

  test("all pods reach each other in both families, by packets as large as their MTU", () => {
    expect(nodes.said("start")).toEqual(everyPing(FAMILIES));
    expect(nodes.said("mtu")).toEqual(["1 > 2 ipv4: 3 of 3", "1 > 2 ipv6: 3 of 3"]);
  });

  test("one route leads to the whole network", () => {
    const routes = nodes.file("routes").split("\n");
    expect(routes).toContain("10.5.0.0/16 dev flannel-wg proto 70 scope link ");
    expect(routes.filter((line) => /^fd00:5::\/48 dev flannel-wg-v6 proto 70/.test(line))).toHaveLength(1);
  });

  test("secret and keepalive are those of the configuration", () => {
    const both = ["flannel-wg", "flannel-wg-v6"].map((device) => `${device} ${PSK} ${KEEPALIVE_S}`);
    expect(nodes.file("secret-and-keepalive").split("\n")).toEqual(both);
    expect(nodes.file("wg-show")).toContain("listening port: 51821");
  });

  test("the key is root's alone, and no secret is in a log, a plan or a trace", () => {
    expect(nodes.file("mode")).toBe("-r--------");
    expect(nodes.file("secret-lines")).toBe("0\n2"); // the second: of a file that holds two
    expect(Number(nodes.file("trace-lines"))).toBeGreaterThan(10);
  });

  test("on the wire there is WireGuard, and nothing else", () => {
    const file = join(directory, "capture.pcap");
    writeFileSync(file, Buffer.from(nodes.file("wire/wireguard.pcap"), "base64"));
    const fields = ["-T", "fields", "-e", "wg.type", "-e", "_ws.col.Protocol"];
    const filter = "udp || ip.addr==10.5.0.0/16 || ipv6.addr==fd00:5::/48"; // neighbours are asked for, too
    const decoding = ["-d", "udp.port==51821,wg", "-Y", filter, ...fields];
    const { stdout, exitCode } = Bun.spawnSync(["tshark", "-r", file, ...decoding]);
    expect(exitCode).toBe(0);
    const packets = stdout.toString().trim().split("\n");
    expect(new Set(packets.map((line) => line.split("\t")[1]))).toEqual(new Set(["WireGuard"]));
    const types = packets.map((line) => line.split("\t")[0]);
    for (const type of ["1", "2", "4"]) expect(types).toContain(type);
  });

  test("packets, MTU and leases are as Go's were recorded", async () => {
    expect(await wireOf(nodes, WIREGUARD)).toEqual(expectedWire(WIREGUARD));
  });

  test("a plan finds everything standing", () => {
    expect(nodes.file("plan")).toContain("nothing to do");
  });

  test("whatever somebody does to devices and peers is repaired", () => {
    const damages = [
      "peers: one removed, one that nobody knows has the prefix of another",
      "prefixes: one more, none",
      "secret and keepalive",
      "key and port",
      "endpoint out of session",
      "both devices, and their key file meanwhile",
      "routes and an address",
      "down, and an MTU",
    ];
    expect(nodes.said("damage")).toEqual(damages.map((name) => `${name}: repaired`));
    expect(nodes.said("repaired")).toEqual(everyPing(FAMILIES));
  });

  test("a restart loses no packet, and keeps key and device", () => {
    expect(nodes.said("restart")).toEqual(
      ["TERM", "KILL"].flatMap((signal) => [
        `4 ${signal}: 0 lost`,
        `6 ${signal}: 0 lost`,
        `${signal}: the same key and device`,
      ]),
    );
  });

  test("a peer leaves, comes back with another key, moves; one that nobody knows is removed by the next start", () => {
    expect(nodes.said("peers")).toEqual([
      "gone",
      "back with another key",
      "1 > 3 ipv4: 3 of 3",
      "moved",
      "1 > 3 ipv4: 3 of 3",
      "3 > 1 ipv4: 3 of 3",
      "stale removed",
    ]);
  });
});

describe("one configuration after the other", () => {
  let nodes: NodesResult;

  beforeAll(async () => {
    nodes = await guest("wireguard_modes.sh", { Type: "vxlan" });
  }, LIMIT_MS + 10_000);

  test.each(["vxlan", "auto", "ipv4", "ipv6", "separate", "again"])("%s: all pods reach each other", (section) => {
    expect(nodes.said(section)).toEqual(everyPing(FAMILIES));
  });

  test("each has its devices, and nothing of the one before", () => {
    const devices = {
      auto: "flannel-wg",
      ipv4: "flannel-wg",
      ipv6: "flannel-wg",
      separate: "flannel-wg flannel-wg-v6",
    };
    const all = { ...devices, again: "flannel-v6.1 flannel.1" };
    expect(nodes.said("links")).toEqual(Object.entries(all).map(([name, links]) => `${name}: ${links}`));
    expect(nodes.file("vxlan-after")).toBe(nodes.file("vxlan-before"));
    expect(nodes.file("wg-after")).toBe("");
    expect(nodes.file("routes-after")).not.toContain("flannel-wg");
  });

  test("packets go by the family of the mode, to a peer that has both prefixes", () => {
    const over4 = (port: number) => [2, 3].map((n) => `flannel-wg 192.168.77.${n}:${port}`).join("\n");
    const over6 = (port: number) => [2, 3].map((n) => `flannel-wg [fd00:77::${n}]:${port}`).join("\n");
    expect(nodes.file("endpoints-auto")).toBe(over4(51824));
    expect(nodes.file("endpoints-ipv4")).toBe(over4(51824));
    expect(nodes.file("endpoints-ipv6")).toBe(over6(51824));
    expect(nodes.file("allowed-ipv6")).toBe("flannel-wg 2\nflannel-wg 2");
    const separate = over6(51821).replaceAll("flannel-wg", "flannel-wg-v6");
    expect(nodes.file("endpoints-separate")).toBe(`${over4(51828)}\n${separate}`);
  });

  test("a kernel without WireGuard is told with what is missing", () => {
    const [line] = nodes.log(1, /no WireGuard/);
    expect(line).toMatch(
      /cannot add link flannel-wg: EOPNOTSUPP .*; this kernel has no WireGuard, .* the module wireguard/,
    );
  });
});

describe.each(GO_FLANNELS.filter(({ api }) => api === "3"))("beside $title", ({ executable }) => {
  let nodes: NodesResult;

  beforeAll(async () => {
    const more = { etcd: true, programs: [executable], modules: ["wireguard", "br_netfilter"] };
    nodes = await guest("wireguard_interop.sh", { Type: "wireguard" }, { GO: basename(executable) }, more);
  }, LIMIT_MS + 10_000);

  test.each(["separate", "ipv4"])("all pods reach each other in mode %s", (mode) => {
    expect(nodes.said(mode)).toEqual(everyPing(FAMILIES));
  });

  test("a restart of ours loses no packet to Go's, and Go takes a key of ours that changes", () => {
    expect(nodes.said("interop")).toEqual(["restart: 0 lost", "1 > 2 ipv4: 3 of 3", "2 > 1 ipv6: 3 of 3"]);
  });

  test("leases have the same fields", () => {
    const values = nodes
      .file("leases")
      .split("\n")
      .filter((line) => line.startsWith("{"));
    const shapes = values.map((line) => {
      const { BackendData, BackendV6Data, ...rest } = JSON.parse(line);
      return [Object.keys(rest), Object.keys(BackendData), BackendData.Port, BackendV6Data.Port];
    });
    expect(shapes).toHaveLength(3);
    expect(new Set(shapes.map((shape) => JSON.stringify(shape))).size).toBe(1);
  });
});
