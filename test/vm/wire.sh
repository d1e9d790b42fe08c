# What goes over the underlay between nodes 1 and 2 of a guest, for wire.ts: put after nodes.sh, before each script. A capture has parts, each from one moment to
# another, so that the packets of each can be told apart though their contents cannot.

mkdir -p /out/wire
head -c 32768 /dev/zero >/tmp/wire-data

# begin_wire NAME: from now on, until end_wire; everything before wire_traffic is its part "handshake".
begin_wire() {
  # Frames of node 2 and to it alone, so that there is nothing of a third one, or of the store.
  begin_capture "wire-$1" 1 ether host "$(in_node 2 cat /sys/class/net/eth0/address)"
  wire=$1 wire_from=$(date +%s.%N)
}
# wire_part PART: all from the end of the part before until now.
wire_part() {
  wire_now=$(date +%s.%N)
  echo "$wire_from $wire_now $1" >>"/out/wire/$wire.parts"
  wire_from=$wire_now
}
wire_ping() {
  wire_to=$1
  shift
  wait_for "answer for the wire" in_pod 1 ping -n -q -c 1 -W 2 -p 66 "$@" "$wire_to"
}

# wire_traffic: for each family an echo of 32 bytes, one as long as the MTU that is marked for expedited forwarding (RFC 3246), one of several pieces, and a
# connection of TCP whose segments are of their true length.
wire_traffic() {
  for wire_family in $(families 1); do
    wire_address=$(pod_address 2 $wire_family)
    wire_mtu=$(sed -n 's/^FLANNEL_MTU=//p' /run/n1/subnet.env)
    case $wire_family in ipv4) wire_headers=28 ;; ipv6) wire_headers=48 ;; esac
    wire_ping "$wire_address"
    wire_part 'handshake'
    wire_ping "$wire_address" -s 32
    wire_part "echo $wire_family"
    wire_ping "$wire_address" -s $((wire_mtu - wire_headers)) -M do -Q 0xb8
    wire_part "full echo $wire_family"
    wire_ping "$wire_address" -s 4000 -M dont
    wire_part "long echo $wire_family"
    for wire_n in 1 2; do in_pod $wire_n ethtool -K eth0 tso off gso off; done
    # cat has the connection for its output, and writes more at once than one segment holds.
    become_pod 2 nc -l -p 5001 -e cat /tmp/wire-data &
    wire_server=$!
    wait_for 'server for the wire' wire_listens
    in_pod 1 nc "$wire_address" 5001 </dev/null >/tmp/wire-received
    wait $wire_server
    cmp /tmp/wire-data /tmp/wire-received
    wire_part "tcp $wire_family"
  done
}
wire_listens() { grep -q ':1389 .* 0A ' "/proc/$wire_server/net/tcp6" "/proc/$wire_server/net/tcp"; }

# end_wire: leaves capture, parts, names, MTU and the leases of the store.
end_wire() {
  stop_capture "wire-$wire"
  wire_out=/out/wire/$wire
  base64 "/tmp/wire-$wire.pcap" >"$wire_out.pcap"
  cp /run/n1/subnet.env "$wire_out.env"
  for wire_n in 1 2; do
    in_node $wire_n cat /sys/class/net/eth0/address >>"$wire_out.macs"
    for wire_family in $(families $wire_n); do pod_address $wire_n "$wire_family"; done | xargs >>"$wire_out.pods"
  done
  if [ -n "$ETCD" ]; then
    etcdctl --endpoints="http://$SWITCH:2379" get --prefix /coreos.com/network/subnets/ --print-value-only >"$wire_out.leases"
  else
    for wire_file in store.db store.db-wal; do base64 "/$wire_file" >"$wire_out.$wire_file"; done
  fi
}
