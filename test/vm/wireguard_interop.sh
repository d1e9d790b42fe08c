# Run in a guest by wireguard.test.ts: Go's flanneld on node 2, ours on the others, leases in etcd.

go_ready() { [ -s "/run/n2/subnet.env" ] && grep -q 'atching for new subnet leases' /out/log-2; }
start_go() { FLANNELD=$GO start 2 -ip-masq=false -iptables-forward-rules=false -iface=eth0; }
has_handshake() { [ "$(in_node "$1" wg show all latest-handshakes | awk '$3 > 0' | wc -l)" -ge "$2" ]; }

start_go
start 1
start 3
ready 1
ready 3
wait_for 'readiness of the Go flanneld' go_ready
each make_pod
ping_all separate
in_node 2 wg show >/out/go-peers
etcdctl --endpoints="http://$SWITCH:2379" get --prefix /coreos.com/network/subnets/ >/out/leases

# Go's is started again, with its key; then ours is.
begin_stream restart 3 2 ipv4
stop 3
start 3
ready 3
end_stream interop restart
key=$(in_node 1 wg show flannel-wg public-key)
stop 1
rm /run/n1/wgkey
start 1
ready 1
within $REACH_S in_node 2 dash -c "! wg show flannel-wg peers | grep -qF '$key'" && say interop 'a changed key reaches Go'
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
ping_all ipv4
