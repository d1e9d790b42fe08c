# Run in a guest by ipip_go.test.ts: ours on node 1 and Go's flanneld (the program GO) on the others, then the other way round.

DEV=flannel.ipip

start_go() { FLANNELD="$GO" start "$1" --iface=eth0 --iptables-forward-rules=false; }
watches() { grep -qi 'watching for new subnet leases' "/out/log-$1" && test -e "/run/n$1/subnet.env"; }
routes() { ip -n "n$1" route show | grep "dev $DEV" | sed 's/ *$//'; }
route_count() { [ "$(routes "$1" | grep -c via)" -eq 2 ]; }
# What a device is, without what depends on the node, the length of a queue that it has not, and whether it takes MPLS too, as Go's does ("any").
device() { ip -n "n$1" -d -o link show $DEV | sed "s/^[0-9]*: //; s/192\.168\.77\.$1/LOCAL/g; s/ qlen 1000//; s/ *\\\\ */ /g; s/ipip \(any\|ipip\) remote/ipip remote/"; }
index() { sed 's/ *$//' "/run/n$1/index"; }
remember() { ip -n "n$1" -o link show $DEV | cut -d: -f1 >"/run/n$1/index"; }
kept() { say kept "$1: $([ "$(ip -n "n$1" -o link show $DEV | cut -d: -f1)" = "$(index "$1")" ] && echo same device)"; }
leases() { etcdctl --endpoints="http://$SWITCH:2379" get --prefix /coreos.com/network/subnets/ --print-value-only | sort; }

start_go 2
start_go 3
start 1
ready 1
for n in 2 3; do wait_for "Go's flanneld on node $n" watches $n; done
for n in 1 2 3; do wait_for "routes to two peers on node $n" route_count $n; done
each make_pod
ping_all mixed
for n in 1 2; do
  device $n >"/out/device-$n"
  cp "/run/n$n/subnet.env" "/out/subnet-$n"
done
leases >/out/leases

remember 2
begin_stream takeover 1 2 ipv4
stop 2
start 2
ready 2
end_stream loss takeover
kept 2
ping_all taken
routes 2 >/out/routes-2

remember 1
begin_stream return 1 3 ipv4
stop 1
: >/out/log-1
start_go 1
wait_for "Go's flanneld on node 1" watches 1
wait_for "routes to two peers on node 1" route_count 1
end_stream loss return
kept 1
ping_all returned
