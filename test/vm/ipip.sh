# Run in a guest by ipip.test.ts: the ipip backend on three nodes, and what happens to them.
#
# DIRECT VXLAN IPIP  network configurations

DEV=flannel.ipip

# What a node has of flannel's devices, nexthops and routes. left_over SECTION N
left_over() {
  say "$1" "$(ip -n "n$2" -o link show | sed -n 's/^[0-9]*: \(flannel[^:@]*\).*/\1/p' | sort | tr '\n' ' ')"
  say "$1" "$(ip -n "n$2" nexthop show | grep -c "dev $3" || :) nexthops, $(ip -n "n$2" route show | grep -c "dev $3" || :) routes by $3"
}
routes() { ip -n "n$1" route show proto 70 | sed 's/ nhid [0-9]*//; s/ *$//'; }
has_routes() { [ "$(routes "$1" | grep -c "$2")" -eq "$3" ]; }
addresses() { ip -n "n$1" -o -4 address show dev "$2" | sed 's/.*inet \([^ ]*\) .*/\1/'; }

# Somebody else's tunnels of the same kind: the fallback that the kernel makes, and one more.
ip -n n1 address add 172.31.0.1/32 dev tunl0
ip -n n1 link set tunl0 up
ip -n n1 link add theirs mtu 1400 type ipip local 192.168.77.1 remote 192.168.77.99
strangers() {
  for link in tunl0 theirs; do
    ip -n n1 -d -o link show $link
    ip -n n1 -o address show dev $link
  done
}
strangers >/tmp/strangers

echo "$(uptime_s) start"
begin_wire ipip
each start
each ready
echo "$(uptime_s) ready"
each make_pod
echo "$(uptime_s) pods"
ping_all start
echo "$(uptime_s) pinged"
for n in 1 2 3; do
  cp "/run/n$n/subnet.env" "/out/subnet-$n"
  routes $n >"/out/routes-$n"
  addresses $n $DEV >"/out/addresses-$n"
done
ip -n n1 -d link show $DEV >/out/link
flannelctl subnets ls "$STORE_FLAGS" --json >/out/subnets
# 1480 bytes with the headers of IPv4 and ICMP, in one piece; one more in no piece; and more than that in several.
ping_pod sizes 1 2 ipv4 -M do -s 1452
ping_pod sizes 1 2 ipv4 -M do -s 1453
ping_pod sizes 1 2 ipv4 -M dont -s 4000

begin_capture capture 1 ip proto 4
ping_pod captured 1 2 ipv4
end_capture capture
wire_traffic
end_wire

echo "$(uptime_s) drift"
change="ip link change $DEV type ipip"
drift 'device deleted' 1 "ip link delete $DEV"
drift 'device down' 2 "ip link set $DEV down"
drift 'MTU changed' 3 "ip link set $DEV mtu 1300"
drift 'local address changed' 1 "$change local 192.168.77.9 remote any"
drift 'parent given' 2 "$change local 192.168.77.2 remote any dev eth0"
drift_stopped 'device deleted unheard' 3 "ip link delete $DEV"
drift_stopped 'MTU changed unheard' 1 "ip link set $DEV mtu 1300"
drift_stopped 'local address changed unheard' 2 "$change local 192.168.77.9 remote any"
drift_stopped 'made anew with a remote' 3 "ip link delete $DEV; ip link add $DEV type ipip local 192.168.77.3 remote 192.168.77.1; ip link set $DEV up"
drift 'address removed' 1 "ip address flush dev $DEV"
drift 'address added' 2 "ip address add 10.5.250.1/32 dev $DEV"
drift 'route deleted' 3 "ip route delete $(subnet 2 ipv4)/24"
drift 'route to a wrong gateway' 1 "ip route replace $(subnet 3 ipv4)/24 via 192.168.77.250"
drift 'route of nobody added' 2 "ip route add 10.5.251.0/24 via 192.168.77.250 dev $DEV onlink proto 70"
drift 'nexthop deleted' 3 "ip nexthop delete id \$(ip nexthop | sed -n 's/^id \\([0-9]*\\) via 192.168.77.2 .*/\\1/p')"
ping_all drifted

echo "$(uptime_s) restarts"
restart_under_streams loss

echo "$(uptime_s) peers"
begin_stream others 1 2 ipv4
stop 3
flannelctl lease revoke 192.168.77.3 "$STORE_FLAGS" --yes
for n in 1 2; do
  within $REACH_S has_routes $n "dev $DEV" 1 || :
  say left "$n: $(routes $n | grep -c "dev $DEV") routes"
done
start 3
each ready
ping_all joined
# The address of its interface becomes another while it runs.
in_node 3 sysctl -qw net.ipv4.conf.eth0.promote_secondaries=1
ip -n n3 address add 192.168.77.33/24 dev eth0
ip -n n3 address delete 192.168.77.3/24 dev eth0
for n in 1 2; do wait_for "route to the new address on node $n" has_routes $n 'via 192.168.77.33 ' 1; done
wait_for "a device of the new address" ip -n n3 route show table local 192.168.77.33
ping_all moved
say moved-link "$(ip -n n3 -d link show $DEV | sed -n 's/.* local \([^ ]*\) .*/\1/p')"
end_stream loss others
snapshot 1 >/tmp/before-direct

echo "$(uptime_s) configurations"
# Nodes 1 and 3 reach each other through a router.
sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.br0.send_redirects=0
ip -n n1 route add 192.168.77.33/32 via $SWITCH
ip -n n3 route add 192.168.77.1/32 via $SWITCH
configure "$DIRECT"
restart_all
ping_all direct
for n in 1 2 3; do
  say direct-routes "$n: $(routes $n | grep -c 'dev eth0') by eth0, $(routes $n | grep -c "dev $DEV") by $DEV"
done
begin_capture capture-direct 1 net 10.5.0.0/16
ping_pod captured 1 2 ipv4
end_capture capture-direct
begin_wire ipip_direct_routing
wire_traffic
end_wire

configure "$VXLAN"
restart_all
ping_all vxlan
left_over after-ipip 1 $DEV

configure "$IPIP"
restart_all
ping_all again
left_over after-vxlan 1 flannel.1
snapshot 1 >/tmp/after-direct
say same "$(diff /tmp/before-direct /tmp/after-direct && echo same)"

configure "$VXLAN"
restart_all
left_over after-ipip 1 $DEV
left_over after-ipip 3 $DEV

strangers >/tmp/strangers-now
say strangers "$(diff /tmp/strangers /tmp/strangers-now && echo same)"
echo "$(uptime_s) end"
