#!/bin/sh
# install.sh [--docker]: installs what lies beside it, as root; --docker also makes docker use the leased subnet (docker-ce's docker.service). It starts nothing;
# a configuration that is there stays as it is, a unit that is there stays beside ours. Variables: PREFIX (/usr), UNITS (/etc/systemd/system), DESTDIR for those who make packages.
set -eu
umask 022

case "${1-}" in
  '' | --docker) ;;
  *)
    echo "$0 [--docker]; in the environment PREFIX, UNITS, DESTDIR" >&2
    exit 1
    ;;
esac
root=${DESTDIR-}
prefix=${PREFIX:-/usr}
units=${UNITS:-/etc/systemd/system}
cd "$(dirname "$0")"

# put FILE: from standard input; another FILE that was there stays as FILE~, which systemd does not read.
put() {
  cat >"$1.new"
  if [ -e "$1" ] && ! cmp -s "$1" "$1.new"; then mv "$1" "$1~"; fi
  mv "$1.new" "$1"
}

install -d "$root$prefix/bin" "$root$prefix/libexec/flannel" "$root$units" "$root/etc/flannel"
install -m 0755 flanneld flanneld-start "$root$prefix/bin"
ln -sf flanneld "$root$prefix/bin/flannelctl"
install -m 0755 mk-docker-opts.sh "$root$prefix/libexec/flannel"
sed "s|=/usr/|=$prefix/|" flanneld.service | put "$root$units/flanneld.service"
[ -e "$root/etc/flannel/flanneld.conf" ] || install -m 0644 flanneld.conf "$root/etc/flannel"
if [ "${1-}" = --docker ]; then
  install -d "$root$units/docker.service.d"
  put "$root$units/docker.service.d/flannel.conf" <docker.service.d/flannel.conf
fi
echo "installed; now: edit /etc/flannel/flanneld.conf, then systemctl daemon-reload && systemctl enable --now flanneld"
