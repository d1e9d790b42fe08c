# Run in a guest by wireguard.test.ts: one configuration after the other. It begins as vxlan and ends so; in between the wireguard backend in every mode.

# Sorts, so that what a device is numbered does not matter; keys and macs are the nodes'.
traces() { snapshot 1 | grep -vE '^(fdb|neighbour)' | sed -E 's/ link\/ether [0-9a-f:]+ / /' || :; }
links() { ip -n n1 -o link show | sed -n 's/^[0-9]*: \(flannel[^:@]*\).*/\1/p' | sort | xargs; }

# become SECTION BACKEND: every node gets another configuration.
become() {
  each stop
  configure "{\"Network\":\"10.5.0.0/16\",\"EnableIPv6\":true,\"IPv6Network\":\"fd00:5::/48\",\"Backend\":$2}" >/dev/null
  each start
  each ready
  each remove_pod
  each make_pod
  ping_all "$1"
  say links "$1: $(links)"
}

each start
each ready
each make_pod
ping_all vxlan
traces >/out/vxlan-before

for mode in auto ipv4 ipv6 separate; do
  become "$mode" "{\"Type\":\"wireguard\",\"Mode\":\"$mode\",\"ListenPort\":5182${#mode}}"
  in_node 1 wg show all dump | awk -F '\t' 'NF == 9 { print $1, $4 }' | sort >"/out/endpoints-$mode"
  in_node 1 wg show all dump | awk -F '\t' 'NF == 9 { print $1, split($5, prefixes, ",") }' | sort >"/out/allowed-$mode"
done
# Behind the node that was vxlan a moment ago: both at once, while a configuration changes.
become again '{"Type":"vxlan"}'
traces >/out/vxlan-after
in_node 1 wg show interfaces >/out/wg-after
ip -n n1 route show >/out/routes-after

# A kernel without WireGuard.
each stop
configure '{"Network":"10.5.0.0/16","Backend":{"Type":"wireguard"}}' >/dev/null
rmmod wireguard
rm -r /lib/modules
start 1
wait_for 'word that there is no WireGuard' grep -q 'no WireGuard' /out/log-1
