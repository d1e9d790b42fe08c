# Run in a guest by clock.test.ts: flannelds on several stores live through steps of the clock. What they did is left in /out, a directory for each network.
#
# NETWORKS  names, each STORE or STORE-PLACE: v3 and v2 are etcd's generations, on the etcd in here (inside) or on the test's machine (outside), file is
#           the embedded store in /store.db; all but inside ones have their configuration
# OUTSIDE   where the etcd outside answers
# TTL       seconds that a lease lives; PHASE_S  seconds that follow each step of the clock, longer than that

INSIDE=10.0.2.15:2379
CONFIG='{"Network":"10.NUMBER.0.0/16","Backend":{"Type":"vxlan"}}'
PREFIX=/coreos.com/network
WAIT_S=60

endpoint() {
  case $1 in
    *-inside) echo "http://$INSIDE" ;;
    *-outside) echo "http://$OUTSIDE" ;;
  esac
}

store_flags() {
  case $1 in
    file) echo --store-file=/store.db ;;
    v3-*) echo "--etcd-api=3 --etcd-endpoints=$(endpoint "$1")" ;;
    v2-*) echo "--etcd-api=2 --etcd-endpoints=$(endpoint "$1")" ;;
  esac
}

# By a clock that nobody steps.
uptime_s() { cut -d. -f1 /proc/uptime; }

# wait_for WHAT COMMAND…: until the command succeeds.
wait_for() {
  what=$1
  shift
  end=$(($(uptime_s) + WAIT_S))
  until "$@" >/dev/null 2>&1; do
    if [ "$(uptime_s)" -gt $end ]; then
      echo "no $what within $WAIT_S s"
      tail -n 20 /out/etcd.log /out/*/log-*
      exit 1
    fi
    sleep 0.2
  done
}

# start_node NETWORK ID N: a namespace on the switch br0, with flanneld in it; ID is the network's number, from 1 on.
start_node() {
  network=$1 id=$2 n=$3
  name=$network-$n
  ip netns add "$name"
  ip link add "p$id-$n" type veth peer name eth0 netns "$name"
  ip link set "p$id-$n" master br0 up
  ip -n "$name" link set lo up
  ip -n "$name" link set eth0 up
  ip -n "$name" address add "10.0.2.$((id * 20 + n))/24" dev eth0
  ip -n "$name" route add default via 10.0.2.2
  # shellcheck disable=SC2046
  nsenter --net="/run/netns/$name" flanneld $(store_flags "$network") --subnet-file="/run/$name/subnet.env" --lease-ttl="$TTL" \
    >"/out/$network/log-$n" 2>&1 &
}

has_routes() { [ "$(ip -n "$1" route show proto 70 | wc -l)" -eq "$2" ]; }
is_ready() { grep -q '"phase": *"ready"' "/run/$1/status.json"; }
subnet() { sed -n 's/^FLANNEL_SUBNET=\(.*\)\.1\(\/.*\)/\1.0\2/p' "/run/$1/subnet.env"; }
overlay() { subnet "$1" | sed 's|/.*||'; }

# keys NETWORK: a line for each lease in etcd, with the seconds it has left.
keys() {
  case $1 in
    v3-*)
      etcdctl --endpoints="$(endpoint "$1")" lease list | sed 1d | while read -r lease; do
        etcdctl --endpoints="$(endpoint "$1")" lease timetolive "$lease" --keys |
          sed -n "s|.*remaining(\(.*\)s), attached keys(\[$PREFIX/subnets/\(.*\)\])|\2 \1|p"
      done
      ;;
    v2-*)
      export ETCDCTL_API=2
      etcdctl --endpoints="$(endpoint "$1")" --no-sync ls "$PREFIX/subnets" | while read -r key; do
        etcdctl --endpoints="$(endpoint "$1")" --no-sync -o extended get "$key" | sed -n "s|^TTL: |${key##*/} |p"
      done
      unset ETCDCTL_API
      ;;
  esac | sort
}

# record PHASE: what holds at its end.
record() {
  for network in $NETWORKS; do
    keys "$network" >"/out/$network/keys-$1"
    for subnet_env in /run/"$network"-*/subnet.env; do
      node=${subnet_env%/*}
      n=${node##*-}
      subnet "$network-$n" >"/out/$network/subnet-$n-$1"
      ip -n "$network-$n" route show proto 70 >"/out/$network/routes-$n-$1"
      grep -c 'Lease renewed' "/out/$network/log-$n" >"/out/$network/renewed-$n-$1" || :
    done
  done
}

# for_all COMMAND…: for every network, with its name and number as further arguments.
for_all() {
  id=0
  for network in $NETWORKS; do
    id=$((id + 1))
    "$@" "$network" "$id"
  done
}

step_clock() { date -s "@$(($(date +%s) + $1))"; }

prepare() {
  mkdir -p "/out/$1"
  config=$(echo "$CONFIG" | sed "s/NUMBER/$((100 + $2))/")
  case $1 in
    v3-inside) etcdctl --endpoints="$(endpoint "$1")" put $PREFIX/config "$config" ;;
    v2-inside) ETCDCTL_API=2 etcdctl --endpoints="$(endpoint "$1")" set $PREFIX/config "$config" ;;
  esac
}

start_pair() {
  start_node "$1" "$2" 1
  start_node "$1" "$2" 2
}

# Every deletion below flannel.1 is noted, and a ping is sent five times a second.
watch_pair() {
  for n in 1 2; do
    wait_for "route on node $n of $1" has_routes "$1-$n" 1
    wait_for "readiness of node $n of $1" is_ready "$1-$n"
    ip -n "$1-$n" monitor link address route neigh >"/out/$1/monitor-$n" &
    echo $! >>/run/watchers
  done
  nsenter --net="/run/netns/$1-1" ping -n -q -i 0.2 "$(overlay "$1-2")" >"/out/$1/ping" 2>&1 &
  echo $! >>/run/watchers
}

start_third() { start_node "$1" "$2" 3; }

meet_third() {
  for n in 1 2 3; do wait_for "routes to both peers on node $n of $1" has_routes "$1-$n" 2; done
  nsenter --net="/run/netns/$1-1" ping -n -q -c 5 -i 0.2 "$(overlay "$1-3")" >"/out/$1/ping-third" 2>&1 || :
}

# An address of its own: otherwise it changes with the ports, and who knows the former one waits half a minute.
ip link add br0 address 02:00:00:00:00:fe type bridge mcast_snooping 0
ip link set eth0 master br0 up
ip link set br0 up
ip address add 10.0.2.15/24 dev br0
etcd --enable-v2 --unsafe-no-fsync --data-dir /tmp/etcd --listen-client-urls "http://$INSIDE" --advertise-client-urls "http://$INSIDE" \
  >/out/etcd.log 2>&1 &
wait_for "health of etcd" etcdctl --endpoints="http://$INSIDE" endpoint health

for_all prepare
for_all start_pair
for_all watch_pair
record before
step_clock 86400
sleep "$PHASE_S"
for_all start_third
for_all meet_third
record forward
step_clock -172800
sleep "$PHASE_S"
record back
# shellcheck disable=SC2046
kill -INT $(cat /run/watchers)
sleep 1
