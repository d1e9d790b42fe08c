# Run in a guest by ipsec.test.ts: the ipsec backend on three nodes, a charon on each, and what happens to them.
#
# IPSEC ENCAP VXLAN  network configurations

echo "$(uptime_s) start"
begin_wire ipsec
each start
each ready
each make_pod
ping_all start
wire_traffic
end_wire
echo "$(uptime_s) pinged"
for n in 1 2 3; do
  cp "/run/n$n/subnet.env" "/out/subnet-$n"
  policies $n >"/out/policies-$n"
done
connections 1 >/out/connections
swanctl_of 1 --list-sas >/out/associations
ip -n n1 xfrm state list | grep -o 'reqid [0-9]* mode [a-z]*' | sort | uniq -c >/out/states
ip -n n1 route show proto 70 >/out/routes
for file in conf vici log json; do stat -c '%a' "/run/own-1/charon.flannel.$file"; done >/out/modes
# The key stands nowhere but in charon and the store.
for n in 1 2 3; do
  for file in "/out/log-$n" "/run/n$n/status.json" "/run/own-$n/charon.flannel.conf" "/run/own-$n/charon.flannel.log" "/run/own-$n/charon.flannel.json"; do
    ! grep -q "$KEY" "$file" || say leaks "$file"
  done
done
echo "$KEY" >/tmp/key
grep -zlf /tmp/key /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null >/out/key-processes || :
flannelctl subnets ls "$STORE_FLAGS" --json >/out/subnets
in_node 1 flannelctl plan -- "$STORE_FLAGS" >/out/plan 2>&1 || :

begin_capture capture 1 -Q out not arp and not port 500
ping_pod sizes 1 2 ipv4 -M do -s 1395
ping_pod sizes 1 2 ipv4 -M do -s 1396
ping_pod sizes 1 2 ipv4 -M dont -s 4000
end_capture capture

echo "$(uptime_s) drift"
s1=$(subnet 1 ipv4)/24 s2=$(subnet 2 ipv4)/24 s3=$(subnet 3 ipv4)/24
drift 'policy out deleted' 1 "ip xfrm policy delete src $s1 dst $s2 dir out"
drift 'policies flushed' 2 "ip xfrm policy flush"
drift_stopped 'policies flushed unheard' 3 "ip xfrm policy flush"
drift_stopped 'policy of another tunnel' 1 "ip xfrm policy update src $s3 dst $s1 dir fwd tmpl src 192.168.77.9 dst 192.168.77.1 proto esp reqid 11 mode tunnel"
drift_stopped 'policy that lets everything through' 2 "ip xfrm policy update src $s2 dst $s1 dir out"
drift 'policy of nobody added' 3 "ip xfrm policy add src $s3 dst 10.5.250.0/24 dir out tmpl src 192.168.77.3 dst 192.168.77.9 proto esp reqid 11 mode tunnel"
drift 'route deleted' 1 "ip route delete $s2"
begin_stream 'charon killed, from' 1 2 ipv4
begin_stream 'charon killed, to' 3 1 ipv4
drift 'charon killed' 1 "kill -9 $(charon_pid 1)"
end_stream loss 'charon killed, from'
end_stream loss 'charon killed, to'
drift 'charon ended' 2 "kill $(charon_pid 2)"
drift_stopped 'charon killed unheard' 3 "kill -9 $(charon_pid 3); flannelctl plan -- $STORE_FLAGS >/out/plan-killed 2>&1"
ping_all drifted

# Both ends have agreed on new keys, and dropped what came to be twice.
agreed() {
  spis 1 >/tmp/spis
  sleep 5
  spis 1 | cmp -s - /tmp/spis
}
echo "$(uptime_s) restarts"
wait_for "rest" agreed
pid=$(charon_pid 1)
spis 1 >/tmp/spis
restart_under_streams loss
spis 1 >/tmp/spis-now
say kept "$([ "$pid" = "$(charon_pid 1)" ] && echo "the same charon"), $(grep -c spi /tmp/spis-now) associations, $(diff /tmp/spis /tmp/spis-now >/dev/null && echo the same)"

echo "$(uptime_s) peers"
begin_stream others 1 2 ipv4
stop 3
flannelctl lease revoke 192.168.77.3 "$STORE_FLAGS" --yes
for n in 1 2; do
  within $REACH_S has_policies $n '192\.168\.77\.3 ' 0 || :
  say left "$n: $(policies $n | grep -c '192\.168\.77\.3 ') policies, $(connections $n | grep -c 'remote_addrs=.192\.168\.77\.3\]') connections, $(ip -n n$n route show proto 70 | grep -c /24) routes"
done
start 3
each ready
ping_all joined
# The address of its interface becomes another while it runs.
in_node 3 sysctl -qw net.ipv4.conf.eth0.promote_secondaries=1
ip -n n3 address add 192.168.77.33/24 dev eth0
ip -n n3 address delete 192.168.77.3/24 dev eth0
ip -n n3 route replace default via $SWITCH
for n in 1 2; do wait_for "policies to the new address on node $n" has_policies $n '192\.168\.77\.33 ' 3; done
ping_all moved
say moved-policies "$(policies 1 | grep -c '192\.168\.77\.3 ') old"
end_stream loss others

echo "$(uptime_s) configurations"
configure "$ENCAP"
begin_wire ipsec_encap
restart
for n in 1 2 3; do remove_pod $n; make_pod $n; done
ping_all encap
begin_capture capture-encap 1 -Q out not arp and not port 500
ping_pod captured 1 2 ipv4
end_capture capture-encap
wire_traffic
end_wire

for n in 1 2 3; do charon_pid $n >>/tmp/pids; done
configure "$VXLAN"
restart
ping_all vxlan
for n in 1 2 3; do
  say after "$(policies $n | grep -c . || :) policies, $(ip -n n$n xfrm state list | grep -c 'mode tunnel' || :) associations, $(ip -n n$n route show proto 70 | grep -c 'dev eth0' || :) routes by eth0, files: $(ls /run/own-$n | grep charon | tr '\n' ' ')"
done
for pid in $(cat /tmp/pids); do ! test -e "/proc/$pid" || say after "charon $pid lives"; done

configure "$IPSEC"
restart
for n in 1 2 3; do remove_pod $n; make_pod $n; done
ping_all again
echo "$(uptime_s) end"
