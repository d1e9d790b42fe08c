// What two of Go flannel's daemons send each other by the backends that need a guest is as was recorded (test/fixtures/wire), with which ours is compared in
// wireguard.test.ts, ipip.test.ts and ipsec.test.ts. FLANNEL_GO names Go's program (../e2e/go_flannel.ts); FLANNEL_WIRE_RECORD=1 writes the recording.

import { beforeAll, describe, expect, test } from "bun:test";
import { basename, join } from "node:path";
import { GO_FLANNELS } from "../e2e/go_flannel.ts";
import { type IpsecOptions, runIpsec } from "./ipsec_nodes.ts";
import { type NodesResult, runNodes } from "./nodes.ts";
import {
  type GuestWire,
  IPIP,
  IPIP_DIRECT,
  IPSEC,
  IPSEC_ENCAP,
  recordedWire,
  recordWire,
  WIREGUARD,
  wireOf,
} from "./wire.ts";

const LIMIT_MS = 400_000;
const SCRIPT = "wire_go.sh";
const WATCHES = "atching for new subnet leases";

type Run = (options: IpsecOptions) => Promise<NodesResult>;

const guest =
  (module: string, families: readonly ["ipv4", "ipv6"?]): Run =>
  ({ modules = [], ...options }) =>
    runNodes({
      ...options,
      script: join(import.meta.dir, SCRIPT),
      config: {},
      families: families.filter((family) => family !== undefined),
      modules: [module, ...modules],
      timeLimitMs: LIMIT_MS,
    });

/** Guests, and what goes on in each, one after the other. */
const GUESTS: readonly (readonly [readonly GuestWire[], Run, ready: string])[] = [
  [[WIREGUARD], guest("wireguard", ["ipv4", "ipv6"]), WATCHES],
  [[IPIP, IPIP_DIRECT], guest("ipip", ["ipv4"]), WATCHES],
  [[IPSEC, IPSEC_ENCAP], (options) => runIpsec(SCRIPT, options), "Loaded connection"],
];

const COMMANDS = [
  "flanneld -etcd-endpoints=… -iface=eth0 (two nodes in a virtual machine, a pod behind a bridge on each)",
  "ping -c 1 -p 66 -s 32; -s MTU -Q 0xb8 -M do; -s 4000 -M dont (pod 1 to pod 2, in each family)",
  "nc (32 KiB from pod 2 to pod 1, in each family)",
  "tcpdump -i eth0 (node 1), fields by tshark -T fields",
];

describe.each(GO_FLANNELS.filter(({ api }) => api === "3"))("$title", ({ executable }) => {
  describe.each(GUESTS.map((each) => [each[0].map(({ name }) => name).join(), ...each] as const))(
    "%s",
    (_, wires, run, ready) => {
      let nodes: NodesResult;

      beforeAll(async () => {
        const lines = wires.map(({ name, config }) => `${name} ${JSON.stringify(config)}`);
        nodes = await run({
          nodes: 2,
          etcd: true,
          programs: [executable],
          // Go's program ends where bridges pass nothing to iptables.
          modules: ["br_netfilter"],
          variables: { GO: basename(executable), READY: ready, WIRES: lines.join("\n") },
        });
      }, LIMIT_MS + 10_000);

      test.each(wires.map((wire) => [wire.name, wire] as const))(
        "%s: packets, MTU and leases are as recorded",
        async (_name, wire) => {
          const seen = await wireOf(nodes, wire);
          if (process.env.FLANNEL_WIRE_RECORD) {
            const put = `etcdctl put /coreos.com/network/config '${JSON.stringify(wire.config, (key, value) => (key === "PSK" ? "…" : value))}'`;
            const { stderr } = Bun.spawnSync([executable, "-version"]);
            recordWire(wire, `flanneld ${stderr.toString().trim()}`, [put, ...COMMANDS], seen);
          }
          expect(seen).toEqual(recordedWire(wire));
        },
      );
    },
  );
});
