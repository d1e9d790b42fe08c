// Packets on the wire: ours are as Go flannel's, field by field. Go's were recorded (test/fixtures/wire) and, where FLANNEL_GO names its program, are seen anew and
// must be as recorded. FLANNEL_WIRE_RECORD=1 writes the recording.

import { describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { FAMILIES } from "../../src/ip/family.ts";
import { GO_FLANNELS, startGo } from "./go_flannel.ts";
import { DUAL_STACK, type Node, Underlay, type UnderlayOptions } from "./nodes.ts";
import { Pod } from "./pod.ts";
import { PORT, UDP } from "./udp.ts";
import { COMMON_FIELDS, exchange, type WireCase, type WirePacket } from "./wire.ts";

const VXLAN = ["udp.srcport", "udp.dstport", "udp.checksum", "vxlan.flags", "vxlan.gbp", "vxlan.vni"];

const vxlan = (name: string, options: object, port = 8472): WireCase => ({
  name,
  config: { ...DUAL_STACK, Backend: { Type: "vxlan", ...options } },
  families: FAMILIES,
  fields: [...COMMON_FIELDS, ...VXLAN],
  decodeAs: `udp.port==${port},vxlan`,
  links: ["flannel.1", "flannel-v6.1", "flannel.77", "flannel-v6.77"],
});

const CASES: readonly WireCase[] = [
  {
    name: "host_gw",
    config: { ...DUAL_STACK, Backend: { Type: "host-gw" } },
    families: FAMILIES,
    fields: COMMON_FIELDS,
  },
  vxlan("vxlan", {}),
  vxlan("vxlan_options", { VNI: 77, Port: 4789, GBP: true }, 4789),
  vxlan("vxlan_direct_routing", { DirectRouting: true }),
  {
    name: "udp",
    config: UDP,
    families: ["ipv4"],
    fields: [...COMMON_FIELDS, "udp.srcport", "udp.dstport", "udp.length", "udp.checksum"],
    decodeAs: `udp.port==${PORT},ip`,
  },
];

interface Recording {
  readonly program: string;
  readonly commands: readonly string[];
  readonly packets: readonly WirePacket[];
}

const path = (wire: WireCase) => join(import.meta.dir, "../fixtures/wire", `${wire.name}.json`);
const recorded = (wire: WireCase) => JSON.parse(readFileSync(path(wire), "utf8")) as Recording;

async function packetsOf(
  wire: WireCase,
  start: (underlay: Underlay, node: Node) => Promise<unknown>,
  options: UnderlayOptions = {},
) {
  await using underlay = await Underlay.open({ nodes: 2, config: wire.config, ...options });
  const nodes = [underlay.node(1), underlay.node(2)] as const;
  for (const node of nodes) await start(underlay, node);
  using pod1 = new Pod(underlay, nodes[0], wire.families);
  using pod2 = new Pod(underlay, nodes[1], wire.families);
  return await exchange(underlay, nodes, [pod1, pod2], wire);
}

test.each(CASES.map((wire) => [wire.name, wire] as const))(
  "%s: our packets are as Go's were recorded",
  async (_name, wire) => {
    const packets = await packetsOf(wire, async (_, node) => await node.flanneld().ready());
    expect(packets).toEqual([...recorded(wire).packets]);
  },
  60_000,
);

describe.each(GO_FLANNELS.filter(({ dualStack }) => dualStack))("$title", (go) => {
  test.each(CASES.map((wire) => [wire.name, wire] as const))(
    "%s: its packets are as recorded",
    async (_name, wire) => {
      const packets = await packetsOf(wire, async (underlay, node) => await startGo(go, underlay, node), {
        etcd: { members: 1, api: go.api },
      });
      if (process.env.FLANNEL_WIRE_RECORD) {
        const commands = [
          `etcdctl put /coreos.com/network/config '${JSON.stringify(wire.config)}'`,
          "flanneld -etcd-endpoints=… -iface=eth0 -subnet-file=… (two nodes, a pod behind a bridge on each)",
          "ping -c 1 -s 32 -p 66 ADDRESS (pod 1 to pod 2, in each family)",
          `tshark -i eth0 (node 1), fields by tshark ${wire.decodeAs ? `-d ${wire.decodeAs} ` : ""}-T fields`,
        ];
        const { stderr } = Bun.spawnSync([go.executable, "-version"]);
        const recording: Recording = { program: `flanneld ${stderr.toString().trim()}`, commands, packets };
        writeFileSync(path(wire), `${JSON.stringify(recording, null, 2)}\n`);
      }
      expect(packets).toEqual([...recorded(wire).packets]);
    },
    60_000,
  );
});
