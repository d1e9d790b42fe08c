#!/bin/sh
# check-machine.sh EXECUTABLE ARCH: fails when an ELF file is not for ARCH (amd64, arm64), by bytes 18 and 19 of its header (elf(5): e_machine).
set -eu

executable=$1 arch=$2
bytes() { od -An -v -tx1 -j "$1" -N "$2" "$executable" | tr -d ' \n'; }
# A script is for every machine.
[ "$(bytes 0 4)" = 7f454c46 ] || exit 0
case $(bytes 18 2) in
  3e00) machine=amd64 ;;
  b700) machine=arm64 ;;
  *) machine="machine 0x$(bytes 18 2)" ;;
esac
[ "$machine" = "$arch" ] || {
  echo "cannot pack $executable for $arch: it is for $machine; build it by make build ARCH=$arch" >&2
  exit 1
}
