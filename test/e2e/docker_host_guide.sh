#!/usr/bin/env bash
# The well-known guide for flannel on bare Docker hosts, as a script: an etcd cluster of three with mutual TLS, certificates from CSR files, the network's
# configuration by etcdctl, flanneld by its unit, a bridge as docker makes it. Commands and flags are the guide's, word for word; what an operator would type on
# host N stands in a block for N.
#
#   docker_host_guide.sh 2|3 cfssl|flannelctl      generation of etcd's API, and who makes the certificates
#
# Given by the test: HOST_1 … HOST_3, pids of processes that hold each host's namespaces; TARBALL; START_UNIT, which starts a unit as systemd would.
set -euo pipefail
api=$1 certs=$2
hosts=(1 2 3)

# on N <<…: a shell on host N.
on() {
  local holder=HOST_$1
  echo "== host $1"
  NODE_NAME=etcd-host$1 NODE_IP=192.168.77.$1 nsenter --target "${!holder}" --mount --net -- bash -euo pipefail -s
}
# start UNIT N: waits until it is active.
start() {
  local holder=HOST_$2 log
  log=$(mktemp)
  # The words of START_UNIT are meant to be parted.
  # shellcheck disable=SC2086
  nsenter --target "${!holder}" --mount --net -- $START_UNIT "/etc/systemd/system/$1.service" "/var/log/$1.log" >"$log" 2>&1 &
  local pid=$!
  until grep -q '^active$' "$log"; do
    if ! kill -0 "$pid" 2>/dev/null; then
      cat "$log" >&2
      nsenter --target "${!holder}" --mount -- tail -n 20 "/var/log/$1.log" >&2
      return 1
    fi
    sleep 0.05
  done
  echo "host $2: $1 is active"
}

export CLUSTER_CIDR="172.30.0.0/16"
export FLANNEL_ETCD_PREFIX="/kubernetes/network"
export ETCD_ENDPOINTS="https://192.168.77.1:2379,https://192.168.77.2:2379,https://192.168.77.3:2379"
export ETCD_NODES="etcd-host1=https://192.168.77.1:2380,etcd-host2=https://192.168.77.2:2380,etcd-host3=https://192.168.77.3:2380"
export api TARBALL

# --- flannel, from the tarball ------------------------------------------------------------------------------------------------------------------------
for n in "${hosts[@]}"; do
  on "$n" <<'HOST'
mkdir -p /opt/flannel
cd /opt/flannel
tar xzf "$TARBALL"
sha256sum --check --quiet SHA256SUMS
./install.sh > /dev/null
systemd-analyze verify /etc/systemd/system/flanneld.service
HOST
done

# --- certificates, on host 1 --------------------------------------------------------------------------------------------------------------------------
on 1 <<'HOST'
mkdir -p /opt/ssl
cd /opt/ssl
cat > ca-config.json <<EOF
{
  "signing": {
    "default": {
      "expiry": "8760h"
    },
    "profiles": {
      "kubernetes": {
        "usages": [
            "signing",
            "key encipherment",
            "server auth",
            "client auth"
        ],
        "expiry": "8760h"
      }
    }
  }
}
EOF
# As the guide was published: a closing quote is missing.
cat > ca-csr.json <<EOF
{
  "CN": "kubernetes",
  "key": {
    "algo": "rsa",
    "size": 2048
  },
  "names": [
    {
      "C": "JP",
      "ST": "Tokyo,
      "L": "Tokyo",
      "O": "k8s",
      "OU": "System"
    }
  ]
}
EOF
if flannelctl certs ca --csr ca-csr.json --out ca 2> fault; then exit 1; fi
cat fault
grep -q 'line 10' fault
grep -qF '"ST": "Tokyo,' fault
sed -i 's/"ST": "Tokyo,/"ST": "Tokyo",/' ca-csr.json
cat > etcd-csr.json <<EOF
{
  "CN": "etcd",
  "hosts": [
    "127.0.0.1",
    "192.168.77.1",
    "192.168.77.2",
    "192.168.77.3"
  ],
  "key": {
    "algo": "rsa",
    "size": 2048
  },
  "names": [
    {
      "C": "JP",
      "ST": "Tokyo",
      "L": "Tokyo",
      "O": "k8s",
      "OU": "System"
    }
  ]
}
EOF
cat > flanneld-csr.json <<EOF
{
  "CN": "flanneld",
  "hosts": [],
  "key": {
    "algo": "rsa",
    "size": 2048
  },
  "names": [
    {
      "C": "JP",
      "ST": "Tokyo",
      "L": "Tokyo",
      "O": "k8s",
      "OU": "System"
    }
  ]
}
EOF
HOST
case "$certs" in
  cfssl) on 1 <<'HOST'
cd /opt/ssl
cfssl gencert -initca ca-csr.json 2>/dev/null | cfssljson -bare ca
cfssl gencert -ca=ca.pem -ca-key=ca-key.pem -config=ca-config.json -profile=kubernetes etcd-csr.json 2>/dev/null | cfssljson -bare etcd
cfssl gencert -ca=ca.pem -ca-key=ca-key.pem -config=ca-config.json -profile=kubernetes flanneld-csr.json 2>/dev/null | cfssljson -bare flanneld
HOST
    ;;
  flannelctl) on 1 <<'HOST'
cd /opt/ssl
flannelctl certs ca --csr ca-csr.json --out ca
flannelctl certs issue --ca ca.pem --ca-key ca-key.pem --config ca-config.json --profile kubernetes --csr etcd-csr.json --out etcd
flannelctl certs issue --ca ca.pem --ca-key ca-key.pem --config ca-config.json --profile kubernetes --csr flanneld-csr.json --out flanneld
for key in *-key.pem; do [ "$(stat --format=%a "$key")" = 600 ]; done
flannelctl certs check --ca ca.pem etcd.pem flanneld.pem
HOST
    ;;
esac
# scp to every host
holder=HOST_1
copied=$(mktemp -d)
nsenter --target "${!holder}" --mount -- tar -C /opt/ssl -c . | tar -C "$copied" -x
export copied
for n in "${hosts[@]}"; do
  on "$n" <<'HOST'
mkdir -p /etc/kubernetes/ssl /etc/etcd/ssl /etc/flanneld/ssl
cp "$copied"/ca.pem /etc/kubernetes/ssl
cp "$copied"/etcd*.pem /etc/etcd/ssl
cp "$copied"/flanneld*.pem /etc/flanneld/ssl
HOST
done
rm -r "$copied"

# --- etcd ---------------------------------------------------------------------------------------------------------------------------------------------
for n in "${hosts[@]}"; do
  on "$n" <<'HOST'
mkdir -p /var/lib/etcd
if [ "$api" = 2 ]; then enable_v2="--enable-v2"; fi
cat > /etc/systemd/system/etcd.service <<EOF
[Unit]
Description=Etcd Server
After=network.target
After=network-online.target
Wants=network-online.target

[Service]
Type=notify
WorkingDirectory=/var/lib/etcd/
ExecStart=$(command -v etcd) \\
  --name=${NODE_NAME} \\
  --cert-file=/etc/etcd/ssl/etcd.pem \\
  --key-file=/etc/etcd/ssl/etcd-key.pem \\
  --peer-cert-file=/etc/etcd/ssl/etcd.pem \\
  --peer-key-file=/etc/etcd/ssl/etcd-key.pem \\
  --client-cert-auth \\
  --trusted-ca-file=/etc/kubernetes/ssl/ca.pem \\
  --peer-trusted-ca-file=/etc/kubernetes/ssl/ca.pem \\
  --initial-advertise-peer-urls=https://${NODE_IP}:2380 \\
  --listen-peer-urls=https://${NODE_IP}:2380 \\
  --listen-client-urls=https://${NODE_IP}:2379,http://127.0.0.1:2379 \\
  --advertise-client-urls=https://${NODE_IP}:2379 \\
  --initial-cluster-token=etcd-cluster-0 \\
  --initial-cluster=${ETCD_NODES} \\
  --initial-cluster-state=new \\
  --data-dir=/var/lib/etcd ${enable_v2:-}
Restart=on-failure
RestartSec=5
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
EOF
HOST
done
starting=()
for n in "${hosts[@]}"; do
  start etcd "$n" &
  starting+=($!)
done
for pid in "${starting[@]}"; do wait "$pid"; done

# --- the network's configuration ------------------------------------------------------------------------------------------------------------------------
if [ "$api" = 2 ]; then
  on 1 <<'HOST'
export ETCDCTL_API=2
etcdctl \
  --endpoints=${ETCD_ENDPOINTS} \
  --ca-file=/etc/kubernetes/ssl/ca.pem \
  --cert-file=/etc/flanneld/ssl/flanneld.pem \
  --key-file=/etc/flanneld/ssl/flanneld-key.pem \
  set ${FLANNEL_ETCD_PREFIX}/config '{"Network":"'${CLUSTER_CIDR}'","SubnetLen":24,"Backend":{"Type":"vxlan"}}'
HOST
else
  on 1 <<'HOST'
export ETCDCTL_API=3
etcdctl \
  --endpoints=${ETCD_ENDPOINTS} \
  --cacert=/etc/kubernetes/ssl/ca.pem \
  --cert=/etc/flanneld/ssl/flanneld.pem \
  --key=/etc/flanneld/ssl/flanneld-key.pem \
  put ${FLANNEL_ETCD_PREFIX}/config '{"Network":"'${CLUSTER_CIDR}'","SubnetLen":24,"Backend":{"Type":"vxlan"}}'
HOST
fi

# --- flanneld -------------------------------------------------------------------------------------------------------------------------------------------
for n in "${hosts[@]}"; do
  on "$n" <<'HOST'
mkdir -p /etc/flannel
cat > /etc/flannel/flanneld.conf <<EOF
FLANNEL_OPTIONS="-etcd-cafile=/etc/kubernetes/ssl/ca.pem -etcd-certfile=/etc/flanneld/ssl/flanneld.pem -etcd-keyfile=/etc/flanneld/ssl/flanneld-key.pem -etcd-endpoints=${ETCD_ENDPOINTS} -etcd-prefix=/kubernetes/network"
EOF
HOST
  start flanneld "$n"
done

# --- what the guide looks at ----------------------------------------------------------------------------------------------------------------------------
for n in "${hosts[@]}"; do
  on "$n" <<'HOST'
grep 'Lease acquired' /var/log/flanneld.log
ip -4 address show flannel.1
cat /run/flannel/subnet.env /run/flannel/docker
HOST
done
if [ "$api" = 2 ]; then
  on 1 <<'HOST'
export ETCDCTL_API=2
ctl="etcdctl --endpoints=${ETCD_ENDPOINTS} --ca-file=/etc/kubernetes/ssl/ca.pem --cert-file=/etc/flanneld/ssl/flanneld.pem --key-file=/etc/flanneld/ssl/flanneld-key.pem"
$ctl get ${FLANNEL_ETCD_PREFIX}/config
$ctl ls ${FLANNEL_ETCD_PREFIX}/subnets | tee /opt/subnets
[ "$(wc -l < /opt/subnets)" -eq 3 ]
$ctl get "$(head -n 1 /opt/subnets)" | tee /opt/lease
HOST
else
  on 1 <<'HOST'
export ETCDCTL_API=3
ctl="etcdctl --endpoints=${ETCD_ENDPOINTS} --cacert=/etc/kubernetes/ssl/ca.pem --cert=/etc/flanneld/ssl/flanneld.pem --key=/etc/flanneld/ssl/flanneld-key.pem"
$ctl get --print-value-only ${FLANNEL_ETCD_PREFIX}/config
$ctl get --prefix --keys-only ${FLANNEL_ETCD_PREFIX}/subnets | grep . | tee /opt/subnets
[ "$(wc -l < /opt/subnets)" -eq 3 ]
$ctl get --print-value-only "$(head -n 1 /opt/subnets)" | tee /opt/lease
HOST
fi
on 1 <<'HOST'
grep -qE '^\{"PublicIP":"192\.168\.77\.[123]",("PublicIPv6":null,)?"BackendType":"vxlan","BackendData":\{.*"VtepMAC":"([0-9a-f]{2}:){5}[0-9a-f]{2}"\}\}$' /opt/lease
HOST

# --- docker0, as docker makes it of what it is given -----------------------------------------------------------------------------------------------------
for n in "${hosts[@]}"; do
  on "$n" <<'HOST'
. /run/flannel/docker
for option in $DOCKER_NETWORK_OPTIONS; do
  case "$option" in
    --bip=*) bip=${option#--bip=} ;;
    --mtu=*) mtu=${option#--mtu=} ;;
  esac
done
subnet=${bip%.1/*}
echo 1 > /proc/sys/net/ipv4/ip_forward
ip link add docker0 type bridge
ip address add "$bip" dev docker0
ip link set docker0 mtu "$mtu" up
ip link add veth0 mtu "$mtu" type veth peer name eth1 mtu "$mtu"
ip link set veth0 master docker0 up
unshare --net sleep infinity > /dev/null 2>&1 < /dev/null &
container=$!
until [ "$(readlink /proc/$container/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.01; done
ip link set eth1 netns $container
nsenter --target $container --net -- ip -batch - <<EOF
link set lo up
link set eth1 up
address add $subnet.2/24 dev eth1
route add default via $subnet.1
EOF
echo $container > /opt/container
echo "$subnet" > /opt/subnet
HOST
done
subnets=()
for n in "${hosts[@]}"; do
  holder=HOST_$n
  subnets+=("$(nsenter --target "${!holder}" --mount -- cat /opt/subnet)")
done
export SUBNETS="${subnets[*]}"
for n in "${hosts[@]}"; do
  on "$n" <<'HOST'
for subnet in $SUBNETS; do
  for last in 0 1; do
    ping -n -c 1 -W 5 "$subnet.$last" > /dev/null
    echo "$subnet.$last answers"
  done
  nsenter --target "$(cat /opt/container)" --net -- ping -n -c 1 -W 5 -M do -s 1422 "$subnet.2" > /dev/null
  echo "container $subnet.2 answers our container, in packets as large as the MTU"
done
HOST
done
echo "the guide works with etcd v$api and certificates of $certs"
