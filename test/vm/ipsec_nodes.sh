# What ipsec.sh and ipsec_interop.sh use, put before each of them: a charon on each node.

CHARON=/run/charon.flannel

# A /run of its own for each node: charon's pid file is in it.
own_run() {
  mkdir -p "/run/own-$1/flannel"
  in_node "$1" dash -ec "mount --bind /run/flannel /run/own-$1/flannel; mount -o rbind /run/own-$1 /run"
}
charon_pid() { sed 's/.*"pid":\([0-9]*\).*/\1/' "/run/own-$1/charon.flannel.json"; }
swanctl_of() {
  swanctl_n=$1
  shift
  in_node "$swanctl_n" swanctl "$@" --uri "unix://$CHARON.vici"
}

# One line for each of flannel's policies.
policies() {
  ip -n "n$1" xfrm policy list | awk '/^src/ { if (line) print line; line = $0; next } { line = line " " $0 } END { if (line) print line }' |
    grep 'reqid 11' | tr -s ' \t' ' ' | sed 's/ $//' | sort
}
# One line for each connection. (Without --raw swanctl takes the dots in a name for something else.)
connections() { swanctl_of "$1" --list-conns --raw 2>/dev/null | grep '^list-conn event' | sort; }
snapshot_more() {
  policies "$1"
  connections "$1"
}
spis() { ip -n "n$1" xfrm state list | grep -B1 'reqid 11' | grep -A1 'src' | tr -s ' \t\n' ' ' | grep -o 'spi 0x[0-9a-f]*' | sort; }
has_policies() { [ "$(policies "$1" | grep -c "$2")" -eq "$3" ]; }
restart() {
  each stop
  each start
  each ready
}

each own_run
