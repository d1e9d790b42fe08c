# Run in a guest by wire_go.test.ts: what two of Go's flannelds send each other, one configuration after the other.
#
# GO     Go's flanneld
# READY  what it logs when all is done for its peer
# WIRES  lines: name, configuration

go_ready() { [ -s "/run/n$1/subnet.env" ] && grep -q "$READY" "/out/log-$1"; }
start_go() {
  rm -f "/run/n$1/subnet.env"
  : >"/out/log-$1"
  FLANNELD="$GO" start "$1" --iface=eth0 --iptables-forward-rules=false
}

echo "$WIRES" >/tmp/wires
while read -r name config <&3; do
  echo "$(uptime_s) $name"
  configure "$config" >/dev/null
  begin_wire "$name"
  each start_go
  for n in 1 2; do wait_for "Go's flanneld on node $n" go_ready $n; done
  each make_pod
  wire_traffic
  end_wire
  each remove_pod
  each stop
done 3</tmp/wires
echo "$(uptime_s) end"
