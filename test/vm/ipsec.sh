# Run in a guest by ipsec.test.ts: three nodes with a charon each.

CHARON=/run/charon.flannel

# A /run of its own for each node: there is one charon.pid in it.
own_run() {
  mkdir -p "/run/own-$1/flannel"
  in_node "$1" dash -ec "mount --bind /run/flannel /run/own-$1/flannel; mount -o rbind /run/own-$1 /run"
}

# charon_pid N
charon_pid() { sed 's/.*"pid":\([0-9]*\).*/\1/' "/run/own-$1/charon.flannel.json"; }

swanctl_of() {
  swanctl_n=$1
  shift
  in_node "$swanctl_n" swanctl "$@" --uri "unix://$CHARON.vici"
}

# One line for each policy of flannel's.
policies() {
  ip -n "n$1" xfrm policy list | awk '/^src/ { if (line) print line; line = $0; next } { $1 = $1; line = line " " $0 } END { if (line) print line }' |
    grep 'reqid 11' | sed 's/  */ /g'
}
snapshot_more() {
  policies "$1"
  swanctl_of "$1" --list-conns | sed 's/^/connection /'
}

# SPIs of a node's associations.
associations() { ip -n "n$1" xfrm state list | grep -c 'reqid 11' || :; }
spis() { ip -n "n$1" xfrm state list | grep -o 'spi 0x[0-9a-f]*' | sort; }

each own_run
each start
each ready
each make_pod
ping_all start

for n in $(seq "$NODES"); do policies "$n" >"/out/policies-$n"; done
swanctl_of 1 --list-conns >/out/connections
swanctl_of 1 --list-sas >/out/sas
ip -n n1 xfrm state list | sed 's/0x[0-9a-f]\{32,\}/KEY/' >/out/states
ip -n n1 route >/out/routes
cp /run/own-1/charon.flannel.conf /out/charon.conf
ls -l /run/own-1 >/out/files

begin_capture wire 1 'not arp and not port 500'
ping_pod again 1 2 ipv4 -s 1300
end_capture wire
