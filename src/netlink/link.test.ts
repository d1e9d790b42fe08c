import { describe, expect, test } from "bun:test";
import { decoded, expectSameRequest } from "../../test/fixtures/netlink/captured.ts";
import type { Address } from "../ip/address.ts";
import type { Mac } from "../ip/mac.ts";
import {
  addLink,
  changeLink,
  decodeLink,
  deleteLink,
  IF_OPER_UNKNOWN,
  IFF_LOOPBACK,
  IFF_LOWER_UP,
  IFF_RUNNING,
  IFF_UP,
} from "./link.ts";
import type { MessageWriter } from "./writer.ts";

const mac = (text: string) => text as Mac;
const VXLAN = { type: "vxlan", vni: 1, parentIndex: 3, port: 8472, learning: false } as const;
const LOCAL = "192.0.2.1" as Address;
const LOCAL6 = "2001:db8::1" as Address;

const requests: [string, (writer: MessageWriter) => void][] = [
  [
    "ip link add flannel.1 mtu 1400 address 3e:00:00:00:00:01 index 7 type vxlan id 1 dev eth0 local 192.0.2.1 dstport 8472 nolearning gbp",
    (writer) => {
      const info = { ...VXLAN, local: LOCAL, gbp: true };
      addLink(writer, { name: "flannel.1", index: 7, mtu: 1400, mac: mac("3e:00:00:00:00:01"), info });
    },
  ],
  [
    "ip link add flannel-v6.1 mtu 1400 address 3e:00:00:00:00:11 index 12 type vxlan id 1 dev eth0 local 2001:db8::1 dstport 8472 nolearning",
    (writer) => {
      const info = { ...VXLAN, local: LOCAL6, gbp: false };
      addLink(writer, { name: "flannel-v6.1", index: 12, mtu: 1400, mac: mac("3e:00:00:00:00:11"), info });
    },
  ],
  [
    "ip link add veth0 type veth peer name veth1 address 02:00:00:00:00:02 mtu 1450",
    (writer) => {
      const peer = { name: "veth1", mac: mac("02:00:00:00:00:02"), mtu: 1450 };
      addLink(writer, { name: "veth0", info: { type: "veth", peer } });
    },
  ],
  [
    "ip link add veth4 mtu 1450 txqueuelen 0 type veth peer name veth5 mtu 1450 txqueuelen 0",
    (writer) => {
      const both = { mtu: 1450, transmitQueueLength: 0 };
      addLink(writer, { name: "veth4", ...both, info: { type: "veth", peer: { name: "veth5", ...both } } });
    },
  ],
  [
    "ip link add cni0 address 02:00:00:00:00:09 index 9 type bridge forward_delay 0 ageing_time 30000",
    (writer) => {
      const info = { type: "bridge", forwardDelay: 0, ageingTime: 30_000 } as const;
      addLink(writer, { name: "cni0", index: 9, mac: mac("02:00:00:00:00:09"), info });
    },
  ],
  ["ip link set dev flannel.1 mtu 1410", (writer) => changeLink(writer, 7, { mtu: 1410 })],
  ["ip link set dev flannel.1 up", (writer) => changeLink(writer, 7, { up: true })],
  ["ip link set dev flannel.1 alias pods", (writer) => changeLink(writer, 7, { alias: "pods" })],
  [
    "ip link set dev flannel.1 address 3e:00:00:00:00:01",
    (writer) => changeLink(writer, 7, { mac: mac("3e:00:00:00:00:01") }),
  ],
  [
    "ip link set dev flannel.1 type vxlan id 1 learning",
    (writer) => changeLink(writer, 7, { info: { type: "vxlan", vni: 1, learning: true } }),
  ],
  ["ip link set dev eth1 master cni0", (writer) => changeLink(writer, 2, { masterIndex: 9 })],
  ["ip link set dev eth1 nomaster", (writer) => changeLink(writer, 2, { masterIndex: 0 })],
  ["ip link set dev eth1 type bridge_slave hairpin on", (writer) => changeLink(writer, 2, { port: { hairpin: true } })],
  ["ip link delete dev veth0", (writer) => deleteLink(writer, 5)],
];

describe("requests for links are those of iproute2", () => {
  test.each(requests)("%s", (command, write) => expectSameRequest(command, write));
});

describe("decodeLink", () => {
  const vxlanDefaults = { group: undefined, l2miss: false, l3miss: false, proxy: false, ttl: 0, tos: 0 };
  const udp = { udpChecksum: true, udpZeroChecksum6Send: false, udpZeroChecksum6Receive: false };
  const vxlan = { ...VXLAN, ...vxlanDefaults, ...udp, ageingSeconds: 300, external: false };

  test("reads a vxlan device and all its options", () => {
    expect(decoded("ip link show dev flannel.1", decodeLink)).toMatchObject([
      {
        kind: "link",
        index: 7,
        name: "flannel.1",
        hardwareType: 1,
        mtu: 1410,
        mac: "3e:00:00:00:00:01",
        masterIndex: undefined,
        parentIndex: undefined,
        alias: "pods",
        operstate: IF_OPER_UNKNOWN,
        info: { ...vxlan, local: LOCAL, gbp: true },
        port: undefined,
      },
    ]);
    const info = { ...vxlan, local: LOCAL6, gbp: false };
    expect(decoded("ip link show dev flannel-v6.1", decodeLink)).toMatchObject([{ index: 12, info }]);
  });

  test("reads a veth as a port of a bridge", () => {
    const port = { hairpin: true, learning: true, unicastFlood: true, isolated: false };
    const link = { name: "eth1", parentIndex: 3, masterIndex: 9, info: { type: "veth" }, port };
    expect(decoded("ip link show dev eth1", decodeLink)).toMatchObject([link]);
  });

  test("reads a bridge", () => {
    const info = { type: "bridge", forwardDelay: 0, ageingTime: 30_000, stp: false, vlanFiltering: false };
    expect(decoded("ip link show dev cni0", decodeLink)).toMatchObject([{ name: "cni0", index: 9, info }]);
  });

  test("reads a tun device, which has no MAC", () => {
    const info = { type: "tun", mode: "tun", owner: 1000, persist: true, multiQueue: false };
    const link = { name: "flannel0", hardwareType: 65534, mac: undefined, info };
    expect(decoded("ip link show dev flannel0", decodeLink)).toMatchObject([link]);
  });

  test.each([
    ["flannel.ipip", { parentIndex: undefined, remote: undefined, ttl: 0, tos: 0, pathMtuDiscovery: false }],
    ["tun6", { parentIndex: 4, remote: "192.0.2.2", ttl: 64, tos: 0x10, pathMtuDiscovery: true }],
  ])("reads the ipip device %s, whose address is no MAC", (name, options) => {
    const info = { type: "ipip", local: "192.0.2.1", ...options };
    const link = { name, hardwareType: 768, mtu: 1480, mac: undefined, info };
    expect(decoded(`ip link show dev ${name}`, decodeLink)).toMatchObject([link]);
  });

  test("reads tunl0, which has no address at all", () => {
    const info = { type: "ipip", parentIndex: undefined, local: undefined, remote: undefined };
    expect(decoded("ip link show dev tunl0", decodeLink)).toMatchObject([{ name: "tunl0", info }]);
  });

  test("reads loopback, which is of no kind", () => {
    const flags = IFF_UP | IFF_LOOPBACK | IFF_RUNNING | IFF_LOWER_UP;
    expect(decoded("ip link show dev lo", decodeLink)).toMatchObject([
      { name: "lo", index: 1, flags, info: undefined },
    ]);
  });
});
