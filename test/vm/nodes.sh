# Nodes in a guest: what the scripts of nodes.ts are made of, put before each of them. A node is a network namespace n<N> with an eth0 on the switch br0, and a
# mount namespace with a /run/flannel of its own (/run/n<N> outside). A pod is a network namespace pod<N> behind cni0 of its node. Outcomes are lines in
# /out/said/SECTION, which the test compares; what a script cannot go on without ends it.
#
# NODES        how many there are
# FAMILIES     "ipv4", "ipv6" or both: those of the underlay
# STORE_FLAGS  how each flanneld is told of the store
# ETCD         1: the store is an etcd in here, on $SWITCH
# CONFIG       the network configuration that etcd gets; the embedded store has it already
# WAIT_S       what is waited for at most, when nothing goes on without it (60)
# REACH_S      and when it does (30)

SWITCH=192.168.77.254
WAIT_S=${WAIT_S:-60}
REACH_S=${REACH_S:-30}
mkdir -p /out/said

# say SECTION TEXT: also to who watches.
say() {
  echo "$2" >>"/out/said/$1"
  echo "$(uptime_s) $1: $2"
}

# By a clock that nobody steps.
uptime_s() { cut -d. -f1 /proc/uptime; }

# within SECONDS COMMAND…: until the command succeeds; fails when it does not in time.
within() {
  within_end=$(($(uptime_s) + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$(uptime_s)" -le $within_end ] || return 1
    sleep 0.1
  done
}

# wait_for WHAT COMMAND…: ends the script when the command does not succeed in time.
wait_for() {
  wait_what=$1
  shift
  within $WAIT_S "$@" && return
  echo "no $wait_what within $WAIT_S s"
  tail -n 20 /out/log-*
  exit 1
}

# in_node N COMMAND…, in_pod N COMMAND…: runs it there. For `&`, become_node and become_pod: then $! is the command itself.
in_node() { (become_node "$@"); }
in_pod() { (become_pod "$@"); }
become_node() {
  become_n=$1
  shift
  exec nsenter "--mount=/proc/$(cat "/run/holder-$become_n")/ns/mnt" "--net=/run/netns/n$become_n" "$@"
}
become_pod() {
  become_n=$1
  shift
  exec nsenter "--net=/run/netns/pod$become_n" "$@"
}

# make_node N: eth0 has 192.168.77.N and fd00:77::N.
make_node() {
  ip netns add "n$1"
  ip link add "p$1" type veth peer name eth0 netns "n$1"
  ip link set "p$1" master br0 up
  mkdir -p "/run/n$1" /run/flannel
  # The mount namespace lives as long as somebody is in it.
  nsenter "--net=/run/netns/n$1" unshare --mount dash -ec "
    mount --bind /run/n$1 /run/flannel
    mount -t sysfs sysfs /sys
    touch /run/flannel/made
    exec sleep 1000000" &
  echo $! >"/run/holder-$1"
  wait_for "node $1" test -e "/run/n$1/made"
  in_node "$1" dash -ec 'echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad'
  ip -n "n$1" link set lo up
  ip -n "n$1" link set eth0 up
  case $FAMILIES in
    *ipv4*)
      ip -n "n$1" address add "192.168.77.$1/24" dev eth0
      ip -n "n$1" route add default via $SWITCH
      ;;
  esac
  case $FAMILIES in
    *ipv6*)
      ip -n "n$1" address add "fd00:77::$1/64" dev eth0 nodad
      ip -n "n$1" route add default via fd00:77::fe
      ;;
  esac
}

# configure JSON: writes the network configuration.
configure() {
  if [ -n "$ETCD" ]; then
    etcdctl --endpoints="http://$SWITCH:2379" put /coreos.com/network/config "$1"
  else
    echo "$1" | flannelctl config set "$STORE_FLAGS" --force -
  fi
}

# start N [FLAG…]: starts flanneld on a node, and does not wait; another's by FLANNELD=PROGRAM.
start() {
  start_n=$1
  shift
  # shellcheck disable=SC2086
  become_node "$start_n" ${FLANNELD:-flanneld} $STORE_FLAGS "$@" >>"/out/log-$start_n" 2>&1 &
  echo $! >"/run/flanneld-$start_n"
}

# stop N [SIGNAL]: ends the flanneld of a node.
stop() {
  stop_pid=$(cat "/run/flanneld-$1")
  # Its parent is this shell, so that it is a zombie until wait.
  kill "-${2:-TERM}" "$stop_pid"
  wait "$stop_pid" || :
}

is_ready() {
  grep -q '"phase": "ready"' "/run/n$1/status.json" && grep -q "\"pid\": $(cat "/run/flanneld-$1")," "/run/n$1/status.json" &&
    grep -q "\"peers\": $2[,}]*$" "/run/n$1/status.json"
}

# ready N [PEERS]: waits until the flanneld of a node is, and has so many peers: all others, unless it is said.
ready() { wait_for "readiness of node $1 with ${2:-$((NODES - 1))} peers" is_ready "$1" "${2:-$((NODES - 1))}"; }

# each COMMAND…: for every node, with its number as the last argument.
each() {
  for each_n in $(seq "$NODES"); do "$@" "$each_n"; done
}

# restart_all: one start takes seconds, and so do three at once.
restart_all() {
  for restart_n in $(seq "$NODES"); do kill -TERM "$(cat "/run/flanneld-$restart_n")"; done
  for restart_n in $(seq "$NODES"); do wait "$(cat "/run/flanneld-$restart_n")" || :; done
  each start
  each ready
}

# A node's subnet without its length: 10.5.7.0, fd00:5:0:7::. subnet N FAMILY
subnet() {
  case $2 in
    ipv4) sed -n 's/^FLANNEL_SUBNET=\(.*\)\.1\/.*/\1.0/p' "/run/n$1/subnet.env" ;;
    ipv6) sed -n 's/^FLANNEL_IPV6_SUBNET=\(.*::\)1\/.*/\1/p' "/run/n$1/subnet.env" ;;
  esac
}

# Families that pods have. families N
families() {
  for family in ipv4 ipv6; do [ -z "$(subnet "$1" $family)" ] || echo $family; done
}

# pod_address N FAMILY [INTERFACE-ID]: of the pod (2), or of the bridge (1).
pod_address() {
  case $2 in
    ipv4) subnet "$1" ipv4 | sed "s/0$/${3:-2}/" ;;
    ipv6) subnet "$1" ipv6 | sed "s/$/${3:-2}/" ;;
  esac
}

# make_pod N: as a CNI plugin would make one by subnet.env.
make_pod() {
  mtu=$(sed -n 's/^FLANNEL_MTU=//p' "/run/n$1/subnet.env")
  ip netns add "pod$1"
  in_node "$1" sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
  ip -n "n$1" link add cni0 mtu "$mtu" type bridge mcast_snooping 0
  ip -n "n$1" link add pod mtu "$mtu" type veth peer name eth0 mtu "$mtu" netns "pod$1"
  in_pod "$1" dash -ec 'echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad'
  ip -n "n$1" link set cni0 up
  ip -n "n$1" link set pod master cni0 up
  ip -n "pod$1" link set lo up
  ip -n "pod$1" link set eth0 up
  for family in $(families "$1"); do
    case $family in ipv4) length=24 ;; ipv6) length=64 ;; esac
    case $family in ipv4) nodad= ;; ipv6) nodad=nodad ;; esac
    ip -n "n$1" address add "$(pod_address "$1" $family 1)/$length" dev cni0 $nodad
    ip -n "pod$1" address add "$(pod_address "$1" $family)/$length" dev eth0 $nodad
    ip -n "pod$1" route add default via "$(pod_address "$1" $family 1)"
  done
}

# remove_pod N: the node has another subnet or MTU.
remove_pod() {
  ip netns delete "pod$1"
  ip -n "n$1" link delete cni0
}

# ping_pod SECTION FROM TO FAMILY [OPTION…]: "FROM > TO FAMILY: 3 of 3" by three pings from pod to pod, once answers come at all.
ping_pod() {
  ping_section=$1 from=$2 to=$3 family=$4
  shift 4
  target=$(pod_address "$to" "$family")
  if within $REACH_S in_pod "$from" ping -n -q -c 1 -W 1 "$target"; then
    answers=$(in_pod "$from" ping -n -q -c 3 -i 0.1 -W 2 "$@" "$target" | sed -n 's/.* \([0-9]*\) received.*/\1/p') || :
  else
    answers=none
  fi
  say "$ping_section" "$from > $to $family: $answers of 3"
}

# ping_all SECTION [OPTION…]: every pod pings every other in every family.
ping_all() {
  all_section=$1
  shift
  for all_from in $(seq "$NODES"); do
    for all_to in $(seq "$NODES"); do
      [ "$all_from" = "$all_to" ] && continue
      for all_family in $(families "$all_from"); do ping_pod "$all_section" "$all_from" "$all_to" "$all_family" "$@"; done
    done
  done
}

# begin_stream NAME FROM TO FAMILY: thirty pings a second from pod to pod, until end_stream.
begin_stream() {
  become_pod "$2" ping -n -i 0.03 "$(pod_address "$3" "$4")" >"/tmp/stream-$1" 2>&1 &
  echo $! >"/run/stream-$1"
  wait_for "answers to the stream $1" grep -q icmp_seq=5 "/tmp/stream-$1"
}

# end_stream SECTION NAME: "NAME: 0 lost", of those sent before the last that was answered.
end_stream() {
  stream_now=$(grep -c icmp_seq= "/tmp/stream-$2")
  within $REACH_S stream_has "$2" $((stream_now + 10)) || :
  kill -INT "$(cat "/run/stream-$2")"
  wait "$(cat "/run/stream-$2")" || :
  say "$1" "$2: $(sed -n 's/.*bytes from.*icmp_seq=\([0-9]*\) .*/\1/p' "/tmp/stream-$2" | sort -un | awk 'END { print $1 - NR }') lost"
}
stream_has() { [ "$(grep -c icmp_seq= "/tmp/stream-$1")" -ge "$2" ]; }

# restart_under_streams SECTION: flanneld of node 1 ends by TERM and by KILL and begins again, while pods talk both ways.
restart_under_streams() {
  for signal in TERM KILL; do
    begin_stream "$signal from" 1 2 ipv4
    begin_stream "$signal to" 3 1 ipv4
    stop 1 $signal
    sleep 0.3
    start 1
    ready 1
    end_stream "$1" "$signal from"
    end_stream "$1" "$signal to"
  done
}

# snapshot N: what flannel has made on a node, without what the kernel numbers anew. `snapshot_more N` adds to it.
snapshot() {
  {
    ip -n "n$1" -d -o link show | grep -E '^[0-9]+: flannel' | sed 's/^[0-9]*: //'
    ip -n "n$1" -o address show | sed -n 's/^[0-9]*: \(flannel.*\)/\1/p' | sed '/inet6 fe80:/d'
    ip -n "n$1" nexthop show proto 70 | sed 's/^id [0-9]* /nexthop /'
    ip -n "n$1" route show proto 70 | sed 's/^/route /; s/ nhid [0-9]*//'
    ip -n "n$1" -6 route show proto 70 | sed 's/^/route /; s/ nhid [0-9]*//'
    ip -n "n$1" neighbour show nud permanent | grep 'dev flannel' | sed 's/^/neighbour /'
    in_node "$1" bridge fdb show | grep 'dev flannel' | sed 's/^/fdb /'
    snapshot_more "$1"
  } | sed 's/ *$//' | sort
}
snapshot_more() { :; }

# drift NAME N COMMANDS: does damage on a node, and says "NAME: repaired" when all stands as before. No object may be damaged more than five times a minute:
# what is undone more often is repaired less often.
drift() {
  snapshot "$2" >/tmp/before
  if in_node "$2" dash -ec "$3"; then await_repair "$1" "$2"; else say drift "$1: cannot be done"; fi
}

# drift_stopped NAME N COMMANDS: the same while flanneld stands still, which also shows that a snapshot has the damage.
drift_stopped() {
  snapshot "$2" >/tmp/before
  kill -STOP "$(cat "/run/flanneld-$2")"
  if ! in_node "$2" dash -ec "$3"; then
    stopped_outcome='cannot be done'
  elif stands_again "$2"; then
    stopped_outcome='no damage'
  else
    stopped_outcome=
  fi
  kill -CONT "$(cat "/run/flanneld-$2")"
  if [ -n "$stopped_outcome" ]; then say drift "$1: $stopped_outcome"; else await_repair "$1" "$2"; fi
}

await_repair() {
  if within $REACH_S stands_again "$2"; then
    say drift "$1: repaired"
  else
    say drift "$1: not repaired"
    say "drift-$(echo "$1" | tr ' /' '--')" "$(diff /tmp/before /tmp/after)"
  fi
}
stands_again() {
  snapshot "$1" >/tmp/after
  cmp -s /tmp/before /tmp/after
}

# begin_capture FILE N FILTER…: what leaves and reaches eth0 of a node until `end_capture FILE`; then /out/FILE has it in tcpdump's words.
begin_capture() {
  capture=$1 capture_n=$2
  shift 2
  become_node "$capture_n" tcpdump -Z root --immediate-mode -U -n -i eth0 -w "/tmp/$capture.pcap" "$@" 2>"/out/log-tcpdump-$capture" &
  echo $! >"/run/capture-$capture"
  wait_for "tcpdump" grep -q 'listening on' "/out/log-tcpdump-$capture"
}
end_capture() {
  stop_capture "$1"
  tcpdump -Z root -n -v -r "/tmp/$1.pcap" >"/out/$1" 2>>"/out/log-tcpdump-$1"
}
# stop_capture FILE: only /tmp/FILE.pcap.
stop_capture() {
  sleep 0.2
  kill -INT "$(cat "/run/capture-$1")"
  wait "$(cat "/run/capture-$1")" || :
}

ln -s flanneld /programs/flannelctl
ip link add br0 address 02:00:00:00:00:fe type bridge mcast_snooping 0
ip link set br0 up
ip address add $SWITCH/24 dev br0
ip address add fd00:77::fe/64 dev br0 nodad
if [ -n "$ETCD" ]; then
  etcd --unsafe-no-fsync --data-dir /tmp/etcd --listen-client-urls "http://$SWITCH:2379" --advertise-client-urls "http://$SWITCH:2379" >/out/log-etcd 2>&1 &
  wait_for "health of etcd" etcdctl --endpoints="http://$SWITCH:2379" endpoint health
  configure "$CONFIG"
fi
each make_node
