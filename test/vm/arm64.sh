# Run in a guest by arm64.long.ts: every backend that needs nothing but flanneld and the kernel, one after the other on three nodes; the firewall rules, the CNI
# plugin, flannelctl. It begins as vxlan.
#
# HOST_GW UDP IPIP WIREGUARD  network configurations

ln -s flanneld /programs/flannel
export FLANNELD_IP_MASQ=true

say machine "$(uname -m)"
say machine "flanneld $(flanneld --version 2>&1)"
say machine "flannelctl $(flannelctl --version)"

# cni N COMMAND: the plugin with what it has built in, for pod N; its answer is in /tmp/cni-N. It runs outside the node's mount namespace, which does not see
# namespaces that were made after it.
cni() {
  cni_conf="{\"cniVersion\":\"1.1.0\",\"name\":\"cbr0\",\"type\":\"flannel\",\"subnetFile\":\"/run/n$1/subnet.env\",\"delegate\":{\"isDefaultGateway\":true}}"
  echo "$cni_conf" | nsenter "--net=/run/netns/n$1" env CNI_COMMAND="$2" CNI_CONTAINERID="pod$1" CNI_NETNS="/run/netns/pod$1" CNI_IFNAME=eth0 \
    CNI_PATH=/nowhere flannel >"/tmp/cni-$1" 2>&1 || {
    cat "/tmp/cni-$1"
    return 1
  }
}
ports() { ip -n "n$1" -o link show type veth | grep -c 'master cni0' || :; }
routes() { ip -n "n$1" route show proto 70 | sed 's/ nhid [0-9]*//; s/ *$//' | sort; }

# become SECTION CONFIGURATION: every node gets another one; pods ping each other, with the largest packet too.
become() {
  configure "$2" >/dev/null
  restart_all
  each remove_pod
  each make_pod
  ping_all "$1"
  largest "$1"
  for n in $(seq "$NODES"); do routes "$n" >"/out/routes-$1-$n"; done
}

# largest SECTION: as long as the MTU of pods goes through in one piece, one byte more does not.
largest() {
  mtu=$(sed -n 's/^FLANNEL_MTU=//p' /run/n1/subnet.env)
  say "$1-largest" "$mtu"
  ping_pod "$1-largest" 1 2 ipv4 -M do -s $((mtu - 28))
  ping_pod "$1-largest" 1 2 ipv4 -M do -s $((mtu - 27))
}

# transfer SECTION FROM TO: a megabyte and more by TCP from pod to pod; whether it is the same there. busybox's nc ends the connection when its input does, so
# that the receiver has one that never ends.
transfer() {
  to=$(pod_address "$3" ipv4)
  become_pod "$3" nc -l -p 7000 <>/tmp/endless >/tmp/received &
  receiver=$!
  within $REACH_S listens "$3"
  in_pod "$2" dash -c "nc $to 7000 </tmp/sent"
  wait $receiver || :
  say "$1" "$2 > $3: $(stat -c %s /tmp/received) bytes, $(cmp -s /tmp/sent /tmp/received && echo the same)"
}
listens() { in_pod "$1" grep -q ':1B58 0*:0000 0A' /proc/net/tcp /proc/net/tcp6; }

echo "$(uptime_s) vxlan"
each start
each ready
for n in 1 2; do
  ip netns add pod$n
  cni $n ADD
done
cp /tmp/cni-1 /out/cni-result
ping_pod cni 1 2 ipv4
ping_pod cni 2 1 ipv6
for n in 1 2; do
  say cni "node $n: $(ports $n) ports"
  cni $n DEL
  say cni "node $n: $(ports $n) ports after DEL"
  remove_pod $n
done
cp /run/n1/status.json /out/status

each make_pod
ping_all vxlan
largest vxlan
ip -n n1 -d -o link show flannel.1 >/out/link
for n in $(seq "$NODES"); do say subnets "$(subnet "$n" ipv4)"; done
flannelctl subnets ls "$STORE_FLAGS" >/out/subnets
in_node 1 flannelctl plan -- "$STORE_FLAGS" >/out/plan
rules() { in_node 1 nft list ruleset | sort; }
in_node 1 nft list ruleset >/out/rules
rules >/tmp/rules

drift 'route deleted' 1 "ip route delete $(subnet 2 ipv4)/24"
drift_stopped 'device deleted' 1 'ip link delete flannel.1'
drift 'forwarding database' 2 'bridge fdb del $(bridge fdb show dev flannel.1 | head -n 1 | cut -d" " -f1) dev flannel.1'
in_node 1 nft flush ruleset
rules_again() { rules | cmp -s - /tmp/rules; }
if within $REACH_S rules_again; then say drift 'rules flushed: repaired'; else say drift "rules flushed: $(rules | diff /tmp/rules -)"; fi
restart_under_streams loss

mkfifo /tmp/endless
dd if=/dev/urandom of=/tmp/sent bs=65536 count=20 2>/dev/null
echo "$(uptime_s) host-gw"
become host-gw "$HOST_GW"
echo "$(uptime_s) wireguard"
become wireguard "$WIREGUARD"
echo "$(uptime_s) ipip"
become ipip "$IPIP"
echo "$(uptime_s) udp"
become udp "$UDP"
transfer transfer 1 2
transfer transfer 3 1
kill -QUIT "$(cat /run/flanneld-1)"
wait_for 'counters' grep -q 'packetloop flannel0: sent packets' /out/log-1
# In pieces.
ping_pod udp-long 1 2 ipv4 -M dont -s 4000 -W 10
drift_stopped 'TUN device deleted' 1 'ip link delete flannel0'
ping_pod udp-again 2 1 ipv4
each stop
echo "$(uptime_s) end"
