#!/bin/sh
# install-tools.sh COMMAND…: installs the packages of those commands that are missing, by the machine's own package manager.
# A command with a slash is the path of a file: /usr/lib/cni/bridge. `busybox-static` is a busybox that needs no library (Debian has one or the other).
set -eu

missing=
for command in "$@"; do
  case "$command" in
    /*) [ -e "$command" ] || missing="$missing $command" ;;
    busybox-static)
      # Only a static one runs in a container that holds nothing else.
      busybox=$(command -v busybox) && [ -z "$(ldd "$busybox" 2>/dev/null | grep '=>')" ] || missing="$missing $command"
      ;;
    *) PATH="$PATH:/usr/sbin:/sbin" command -v "$command" >/dev/null 2>&1 || missing="$missing $command" ;;
  esac
done
[ -n "$missing" ] || exit 0

# package MANAGER COMMAND: the package that brings COMMAND.
package() {
  case "$1:$2" in
    apt-get:ip | apt-get:bridge | apt-get:tc | zypper:ip | zypper:bridge | zypper:tc | apk:ip | apk:bridge | apk:tc | pacman:ip | pacman:bridge | pacman:tc) echo iproute2 ;;
    dnf:ip | dnf:bridge) echo iproute ;;
    dnf:tc) echo iproute-tc ;;
    apt-get:ping) echo iputils-ping ;;
    *:ping) echo iputils ;;
    *:nft) echo nftables ;;
    *:ctr) echo containerd ;;
    apt-get:kubectl) echo kubernetes-client ;;
    apt-get:go) echo golang-go ;;
    *:go) echo golang ;;
    apt-get:*/Masterminds/sprig) echo golang-github-masterminds-sprig-dev ;;
    apt-get:*/sigs.k8s.io/yaml) echo golang-k8s-sigs-yaml-dev ;;
    *:/usr/lib/cni/*) echo containernetworking-plugins ;;
    apt-get:busybox-static) echo busybox-static ;;
    *:busybox-static) echo busybox ;;
    dnf:iptables) echo iptables-nft ;;
    apt-get:conntrack) echo conntrack ;;
    *:conntrack) echo conntrack-tools ;;
    *:ss) echo iproute2 ;;
    *:wg) echo wireguard-tools ;;
    dnf:tshark | pacman:tshark) echo wireshark-cli ;;
    zypper:tshark) echo wireshark ;;
    *:systemd-analyze) echo systemd ;;
    apt-get:dnsmasq) echo dnsmasq-base ;;
    apt-get:etcd) echo etcd-server ;;
    apt-get:etcdctl) echo etcd-client ;;
    *:etcdctl) echo etcd ;;
    apt-get:cfssl | apt-get:cfssljson) echo golang-cfssl ;;
    *:cfssljson) echo cfssl ;;
    apt-get:qemu-system-x86_64 | pacman:qemu-system-x86_64) echo qemu-system-x86 ;;
    dnf:qemu-system-x86_64) echo qemu-system-x86-core ;;
    zypper:qemu-system-x86_64) echo qemu-x86 ;;
    apt-get:qemu-system-aarch64) echo qemu-system-arm ;;
    dnf:qemu-system-aarch64) echo qemu-system-aarch64-core ;;
    zypper:qemu-system-aarch64) echo qemu-arm ;;
    *:nsenter | *:unshare | *:setpriv) echo util-linux ;;
    dnf:mount | zypper:mount | apk:mount | pacman:mount) echo util-linux ;;
    *) echo "$2" ;;
  esac
}

for manager in apt-get dnf zypper apk pacman; do
  command -v "$manager" >/dev/null 2>&1 || continue
  packages=$(for command in $missing; do package "$manager" "$command"; done | sort -u | tr '\n' ' ')
  if [ "$(id -u)" -ne 0 ]; then
    echo "missing:$missing; not root, so install them yourself: $manager install $packages" >&2
    exit 1
  fi
  echo "installing $packages"
  # shellcheck disable=SC2086
  case "$manager" in
    apt-get) { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $packages; } >/tmp/flannel-install.$$ 2>&1 ;;
    apk) apk add $packages >/tmp/flannel-install.$$ 2>&1 ;;
    pacman) pacman -Sy --noconfirm $packages >/tmp/flannel-install.$$ 2>&1 ;;
    *) "$manager" install -y $packages >/tmp/flannel-install.$$ 2>&1 ;;
  esac || {
    cat /tmp/flannel-install.$$ >&2
    rm -f /tmp/flannel-install.$$
    exit 1
  }
  rm -f /tmp/flannel-install.$$
  exit 0
done
echo "missing:$missing; no package manager known here, so install them yourself" >&2
exit 1
