# Run in a guest by nodes.test.ts: what nodes.sh offers, with the vxlan backend.

each start
each ready
each make_pod
ping_all start

begin_capture capture 1 udp port 8472
ping_pod again 1 2 ipv4
end_capture capture

drift 'route deleted' 1 "ip route delete $(subnet 2 ipv4)/24"
drift 'nothing' 1 'exit 1'
drift_stopped 'harmless' 1 'true'
drift_stopped 'device deleted' 1 'ip link delete flannel.1'

for signal in TERM KILL; do
  begin_stream "4 $signal" 2 1 ipv4
  begin_stream "6 $signal" 2 1 ipv6
  stop 1 $signal
  sleep 0.3
  start 1
  ready 1
  end_stream loss "4 $signal"
  end_stream loss "6 $signal"
done

begin_stream broken 1 3 ipv4
ip -n n1 link set eth0 down
sleep 2
ip -n n1 link set eth0 up
end_stream loss broken
