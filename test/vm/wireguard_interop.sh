# Run in a guest by wireguard.test.ts: Go's flanneld on node 2, ours on the others, leases in etcd.

go_ready() { [ -s "/run/n2/subnet.env" ] && grep -q 'atching for new subnet leases' /out/log-2; }
start_go() { FLANNELD=$GO start 2 -ip-masq=false -iptables-forward-rules=false -iface=eth0; }

start_go
start 1
start 3
ready 1
ready 3
wait_for 'readiness of the Go flanneld' go_ready
each make_pod
ping_all separate
etcdctl --endpoints="http://$SWITCH:2379" get --prefix /coreos.com/network/subnets/ >/out/leases

# Ours is started again, then with another key. (Go's keeps a peer for the former one.)
begin_stream restart 3 2 ipv4
stop 3
start 3
ready 3
end_stream interop restart
stop 1
rm /run/n1/wgkey
start 1
ready 1
ping_pod interop 1 2 ipv4
ping_pod interop 2 1 ipv6

# One device for both families, by IPv4.
each stop
configure "{\"Network\":\"10.5.0.0/16\",\"EnableIPv6\":true,\"IPv6Network\":\"fd00:5::/48\",\"Backend\":{\"Type\":\"wireguard\",\"Mode\":\"ipv4\"}}" >/dev/null
: >/out/log-2
start_go
start 1
start 3
ready 1
ready 3
wait_for 'readiness of the Go flanneld' go_ready
# Go's device is a new one, with which ours begin sessions anew: packets of those before are lost.
ping_all settling
ping_all ipv4
