#!/usr/bin/env bash
# The well-known guide for flannel below Kubernetes with etcd of its own, as a script: etcd with the v2 API on the master, the network's configuration by
# etcdctl, flanneld by its unit with a host name in its options, the CNI configuration of one plugin. Commands and texts are the guide's; what an operator would
# type on host N stands in a block for N. What kubelet does is the test's part: it has containerd run pods.
#
#   cluster_guide.sh up 'BACKEND'      the backend as the network's configuration has it: "Type": "vxlan"
#   cluster_guide.sh restart N         flanneld of host N anew, as systemctl restart does it
#
# Given by the test: HOST_1 … HOST_3, pids of processes that hold each host's namespaces; TARBALL; START_UNIT, which starts a unit as systemd would. Host 1 is
# the master.
set -euo pipefail
hosts=(1 2 3)

# on N <<…: a shell on host N.
on() {
  local holder=HOST_$1
  echo "== host $1"
  nsenter --target "${!holder}" --pid --mount --net -- bash -euo pipefail -s
}
# start UNIT N: waits until it is active.
start() {
  local holder=HOST_$2 log
  log=$(mktemp)
  # The words of START_UNIT are meant to be parted.
  # shellcheck disable=SC2086
  nsenter --target "${!holder}" --pid --mount --net -- $START_UNIT "/etc/systemd/system/$1.service" "/var/log/$1.log" >"$log" 2>&1 &
  local pid=$!
  until grep -q '^active$' "$log"; do
    if ! kill -0 "$pid" 2>/dev/null; then
      cat "$log" >&2
      nsenter --target "${!holder}" --pid --mount -- tail -n 20 "/var/log/$1.log" >&2
      return 1
    fi
    sleep 0.05
  done
  rm "$log"
  echo "host $2: $1 is active"
}

restart() {
  on "$1" <<'HOST'
pid=$(sed -n 's/.*"pid": *\([0-9]*\).*/\1/p' /run/flannel/status.json)
kill -TERM "$pid"
while [ -e "/proc/$pid" ]; do sleep 0.02; done
HOST
  start flanneld "$1"
}

up() {
  export backend=$1 TARBALL
  for n in "${hosts[@]}"; do
    on "$n" <<'HOST'
cat >> /etc/hosts <<EOF
192.168.77.1 master
192.168.77.2 node1
192.168.77.3 node2
EOF
mkdir -p /opt/flannel/package
cd /opt/flannel/package
tar xzf "$TARBALL"
PREFIX=/opt/flannel ./install.sh > /dev/null
HOST
  done

  # --- etcd, on the master ------------------------------------------------------------------------------------------------------------------------------
  on 1 <<'HOST'
mkdir -p /etc/etcd /var/lib/etcd/default.etcd
cat > /etc/etcd/etcd.conf <<EOF
ETCD_NAME=default
ETCD_DATA_DIR="/var/lib/etcd/default.etcd"
ETCD_LISTEN_CLIENT_URLS="http://0.0.0.0:2379"
ETCD_ADVERTISE_CLIENT_URLS="http://master:2379"
EOF
cat > /etc/systemd/system/etcd.service <<EOF
[Unit]
Description=Etcd Server
After=network.target

[Service]
Type=notify
WorkingDirectory=/var/lib/etcd/
EnvironmentFile=-/etc/etcd/etcd.conf
ExecStart=$(command -v etcd) --enable-v2

[Install]
WantedBy=multi-user.target
EOF
HOST
  start etcd 1
  on 1 <<'HOST'
ETCDCTL_API=2 etcdctl set /coreos.com/network/config '{ "Network": "10.0.0.0/16", "SubnetLen": 24, "Backend": { '"$backend"' } }'
ETCDCTL_API=2 etcdctl get /coreos.com/network/config
HOST

  # --- flanneld and the CNI configuration, on every host ------------------------------------------------------------------------------------------------
  for n in "${hosts[@]}"; do
    on "$n" <<'HOST'
cat > /etc/flannel/flanneld.conf <<EOF
FLANNEL_OPTIONS="-etcd-endpoints=http://master:2379 -etcd-prefix=/coreos.com/network -ip-masq=true"
EOF
mkdir -p /etc/cni/net.d
cat > /etc/cni/net.d/flannel.conf <<EOF
{"name":"mynet","type":"flannel","delegate":{"isDefaultGateway":true}}
EOF
/opt/flannel/bin/flannelctl install-cni --no-conf
HOST
    start flanneld "$n"
    on "$n" <<'HOST'
grep 'Lease acquired' /var/log/flanneld.log
cat /run/flannel/subnet.env
HOST
  done
  on 1 <<'HOST'
ETCDCTL_API=2 etcdctl ls /coreos.com/network/subnets | tee /opt/subnets
[ "$(wc -l < /opt/subnets)" -eq 3 ]
HOST
}

"$@"
