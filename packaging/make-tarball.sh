#!/bin/sh
# make-tarball.sh EXECUTABLE FOLDER VERSION ARCH: puts flannel-ts-VERSION-linux-ARCH.tar.gz and SHA256SUMS into FOLDER. The same input gives the same bytes: order,
# owner, modes and time are fixed (SOURCE_DATE_EPOCH, else the last commit's time). Like upstream's tarballs it has no folder of its own: scripts unpack it
# into one that they make.
set -eu
umask 022

executable=$1 folder=$2 version=$3 arch=$4
here=$(cd "$(dirname "$0")" && pwd)
name=flannel-ts-$version-linux-$arch.tar.gz
"$here/check-machine.sh" "$executable" "$arch"
time=${SOURCE_DATE_EPOCH:-$(git -C "$here" log -1 --format=%ct 2>/dev/null || echo 0)}

mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
stage=$(mktemp -d "$folder/.stage.XXXXXX")
trap 'rm -rf "$stage" "$stage.tar.gz"' EXIT
# A hard link where it can be one: the executable is large.
ln -L "$executable" "$stage/flanneld" 2>/dev/null || cp -L "$executable" "$stage/flanneld"
for other in flannelctl flannel; do ln -s flanneld "$stage/$other"; done
for file in flanneld-start mk-docker-opts.sh install.sh flanneld.service flanneld.conf docker.service.d; do
  cp -R "$here/$file" "$stage/$file"
done
cp "$here/../README.md" "$here/../CHANGELOG.md" "$here/../LICENSE" "$stage"
mkdir "$stage/docs"
cp "$here/../docs/"*.md "$stage/docs"

cd "$stage"
files=$(find . -type f | sed 's|^\./||' | LC_ALL=C sort)
# shellcheck disable=SC2086
sha256sum $files >SHA256SUMS
# --hard-dereference: the executable is a hard link here, whatever it was in FOLDER.
LC_ALL=C tar --format=gnu --sort=name --hard-dereference --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX --mtime="@$time" \
  -I 'gzip -n' -cf "$stage.tar.gz" -- *
cd "$folder"
chmod 0644 "$stage.tar.gz"
mv "$stage.tar.gz" "$name"
sha256sum "$name" >SHA256SUMS
