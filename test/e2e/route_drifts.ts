// What happens to routes and nexthop objects that lead through the external interface, as host-gw and DirectRouting have them.

import type { BackendDrift } from "./backend_contract.ts";

export const ROUTE_DRIFTS: readonly BackendDrift[] = [
  { name: "route deleted", damage: (_, peer) => `ip route delete ${peer.subnet()}` },
  { name: "IPv6 route deleted", damage: (_, peer) => `ip -6 route delete ${peer.subnet("ipv6")}` },
  { name: "route to a wrong gateway", damage: (_, peer) => `ip route replace ${peer.subnet()} via 192.168.77.250` },
  {
    name: "nexthop object deleted",
    damage: (_, peer) =>
      `ip nexthop delete id $(ip nexthop | sed -n 's/^id \\([0-9]*\\) via ${peer.address.ipv4} .*/\\1/p')`,
  },
  {
    name: "all routes deleted",
    damage: () =>
      `for f in -4 -6; do ip $f route show proto 70 | while read dst rest; do ip $f route delete $dst; done; done`,
  },
  { name: "all nexthop objects flushed", damage: () => "ip nexthop flush proto 70" },
  {
    name: "the external interface down and up",
    damage: () => `
      sysctl -qw net.ipv6.conf.eth0.keep_addr_on_down=1
      ip link set eth0 down
      ip link set eth0 up
      ip route add default via 192.168.77.254
      ip -6 route replace default via fd00:77::fe`,
  },
  {
    name: "the cable pulled and put in again",
    damage: (node, _, underlay) => {
      underlay.replug(node);
      return ":";
    },
  },
];
