#!/bin/sh
# make-image.sh EXECUTABLE IMAGE ARCH: builds the image of the DaemonSet by podman, else buildah, else docker. BASE in the environment replaces its base image, OPTIONS are more options of the build.
set -eu

executable=$1 image=$2 arch=$3
here=$(cd "$(dirname "$0")" && pwd)
"$here/../check-machine.sh" "$executable" "$arch"
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
cp -L "$executable" "$context/flanneld"
chmod 0755 "$context/flanneld"
cp "$here/flanneld-in-pod" "$here/../mk-docker-opts.sh" "$context"

for builder in podman buildah docker; do
  command -v "$builder" >/dev/null 2>&1 || continue
  # shellcheck disable=SC2086
  "$builder" ${STORAGE-} build --platform="linux/$arch" --file "$here/Containerfile" --tag "$image" ${BASE:+--build-arg "BASE=$BASE"} ${OPTIONS-} "$context"
  exit 0
done
echo "cannot build $image: there is no podman, buildah or docker; install one" >&2
exit 1
