# Run in a guest by ipsec.test.ts: Go flannel on node 2, ours on the others; then node 2 changes sides and back.
#
# GO  Go's flanneld

start_go() { FLANNELD=$GO start "$1" --iface=eth0 --iptables-forward-rules=false; }
# Whether it has told its charon of all peers.
go_has_connections() { [ "$(grep -c 'Loaded connection' "/out/log-$1")" -ge $((NODES - 1)) ]; }

start 1
start_go 2
start 3
ready 1
ready 3
wait_for "connections of Go's" go_has_connections 2
each make_pod
ping_all beside
policies 2 >/out/policies-go
in_node 2 swanctl --list-conns --raw --uri unix:///var/run/charon.vici 2>/dev/null | grep '^list-conn event' | sort >/out/connections-go
in_node 2 swanctl --list-sas --uri unix:///var/run/charon.vici 2>/dev/null >/out/associations-go
policies 1 >/out/policies-1
connections 1 >/out/connections-1

stop 2
start 2
ready 2
policies 2 >/out/policies-ours
connections 2 >/out/connections-ours
ping_all ours

stop 2
kill "$(charon_pid 2)"
: >/out/log-2
start_go 2
wait_for "connections of Go's" go_has_connections 2
ping_all back
