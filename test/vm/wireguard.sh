# Run in a guest by wireguard.test.ts: the wireguard backend in mode separate. PSK is the preshared key of the configuration.

# Of a device: key, port. Of a peer: key, secret, endpoint, prefixes in order, keepalive.
snapshot_more() {
  in_node "$1" wg show all dump | awk -F '\t' '
    NF == 5 { print $1, $3, $4 }
    NF == 9 { n = split($5, prefixes, ","); if (n == 2 && prefixes[1] > prefixes[2]) $5 = prefixes[2] "," prefixes[1]; print $1, $2, $3, $4, $5, $9 }'
}

# damage NAME N COMMANDS: while flanneld stands still, so that it is seen; says "NAME: repaired" when all stands as before once flanneld goes on.
damage() {
  snapshot "$2" >/tmp/before
  kill -STOP "$(cat "/run/flanneld-$2")"
  in_node "$2" dash -ec "$3" || say damage "$1: cannot be done"
  stands_again "$2" && say damage "$1: nothing to see"
  kill -CONT "$(cat "/run/flanneld-$2")"
  if within $REACH_S stands_again "$2"; then
    say damage "$1: repaired"
  else
    say damage "$1: not repaired"
    diff /tmp/before /tmp/after || :
  fi
}

key_of() { in_node "$1" wg show flannel-wg public-key; }
device_of() { in_node "$1" wg show flannel-wg public-key && in_node "$1" cat /sys/class/net/flannel-wg/ifindex; }
has_peer() { in_node "$1" wg show flannel-wg peers | grep -qF "$2"; }
has_no_peer() { ! has_peer "$1" "$2"; }
has_endpoint() { in_node "$1" wg show flannel-wg endpoints | grep -qF "$2"; }

# From the start on, since handshakes come first.
begin_wire wireguard
each start
each ready
each make_pod
ping_all start
wire_traffic
end_wire
# The largest packet that pods may send, and that nothing is cut into pieces for.
ping_pod mtu 1 2 ipv4 -s 1392 -M do
ping_pod mtu 1 2 ipv6 -s 1372 -M do
ip -n n1 route show >/out/routes
ip -n n1 -6 route show >>/out/routes
in_node 1 wg show >/out/wg-show
in_node 1 wg show all dump | awk -F '\t' 'NF == 9 { print $1, $3, $9 }' | sort -u >/out/secret-and-keepalive
ls -l /run/n1/wgkey | cut -d' ' -f1 >/out/mode
in_node 1 flannelctl plan -- "$STORE_FLAGS" >/out/plan 2>&1 || :

second=$(key_of 2)
stranger=hPQ2FmPNQYkjMvcMTDzRDnQ2gdcSYAhpK1hyI1oPuWQ=
damage 'peers: one removed, one that nobody knows has the prefix of another' 1 "
  wg set flannel-wg peer $second remove
  wg set flannel-wg peer $stranger allowed-ips $(subnet 3 ipv4)/24,10.5.255.0/24"
damage 'prefixes: one more, none' 1 "
  wg set flannel-wg peer $second allowed-ips $(subnet 2 ipv4)/24,10.5.255.0/24
  wg set flannel-wg-v6 peer $second allowed-ips ''"
damage 'secret and keepalive' 1 "
  wg set flannel-wg peer $second preshared-key /dev/null
  wg set flannel-wg-v6 peer $second persistent-keepalive off"
damage 'key and port' 1 '
  umask 077
  wg genkey >/run/flannel/other
  wg set flannel-wg private-key /run/flannel/other
  wg set flannel-wg-v6 listen-port 5000'
damage 'endpoint out of session' 1 "
  wg set flannel-wg peer $second remove
  wg set flannel-wg peer $second endpoint 192.168.77.99:9 allowed-ips $(subnet 2 ipv4)/24"
damage 'both devices, and their key file meanwhile' 1 '
  mv /run/flannel/wgkey /run/flannel/elsewhere
  ip link delete flannel-wg
  ip link delete flannel-wg-v6'
in_node 1 mv /run/flannel/elsewhere /run/flannel/wgkey
damage 'routes and an address' 1 "
  ip route delete 10.5.0.0/16
  ip route delete fd00:5::/48
  ip address delete $(subnet 1 ipv4)/32 dev flannel-wg"
damage 'down, and an MTU' 1 '
  ip link set flannel-wg down
  ip link set flannel-wg-v6 mtu 1300'
ping_all repaired

device_of 1 >/tmp/device
for signal in TERM KILL; do
  begin_stream "4 $signal" 2 1 ipv4
  begin_stream "6 $signal" 2 1 ipv6
  stop 1 $signal
  sleep 1
  start 1
  ready 1
  end_stream restart "4 $signal"
  end_stream restart "6 $signal"
  device_of 1 | cmp -s - /tmp/device && say restart "$signal: the same key and device"
done

third=$(key_of 3)
# A node that leaves, and comes back with another key.
stop 3
flannelctl lease revoke 192.168.77.3 "$STORE_FLAGS" --yes
within $REACH_S has_no_peer 1 "$third" && say peers 'gone'
rm /run/n3/wgkey
start 3
ready 3
within $REACH_S has_peer 1 "$(key_of 3)" && has_no_peer 1 "$third" && say peers 'back with another key'
remove_pod 3
make_pod 3
ping_pod peers 1 3 ipv4
# With another public IP.
ip -n n3 address delete 192.168.77.3/24 dev eth0
ip -n n3 address add 192.168.77.33/24 dev eth0
ip -n n3 route replace default via $SWITCH
within $REACH_S has_endpoint 1 192.168.77.33:51820 && say peers 'moved'
within $REACH_S has_peer 3 "$(key_of 1)"
ping_pod peers 1 3 ipv4
ping_pod peers 3 1 ipv4

# While flanneld is not there, a peer goes: it is removed by the next start.
stop 1
in_node 1 wg set flannel-wg peer $stranger allowed-ips 10.5.255.0/24
in_node 1 wg set flannel-wg peer "$second" preshared-key /dev/null
export FLANNEL_TRACE=netlink
start 1
ready 1
within $REACH_S has_no_peer 1 $stranger && say peers 'stale removed'
hex() { base64 -d | od -An -v -tx1 | tr -s '\n ' ' ' | sed 's/^ //; s/ $//'; }
# secret_lines FILE…: how many lines hold a secret, as text or as a trace shows bytes.
secret_lines() { cat "$@" | grep -cF -e "$PSK" -e "$(echo "$PSK" | hex)" -e "$(cat /run/n1/wgkey)" -e "$(hex </run/n1/wgkey)" || :; }
secret_lines /out/log-* /out/plan >/out/secret-lines
{ echo "$PSK" && hex </run/n1/wgkey; } >/tmp/secrets
secret_lines /tmp/secrets >>/out/secret-lines
grep -c '^netlink' /out/log-1 >/out/trace-lines
