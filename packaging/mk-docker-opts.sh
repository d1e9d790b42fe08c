#!/bin/sh
# Turns subnet.env, which flanneld writes, into options of dockerd, in a file that systemd and shells read. Flags, output and exit codes are upstream's;
# docs/docker-host.md lists them, and the faults of upstream's script that are mended here. POSIX sh: dash, bash and busybox give the same bytes.
#
# subnet.env is sourced, since files written by hand use the shell's quotes. So it and the environment can bring options of their own: any variable whose
# name holds DOCKER_OPT_ is one more option, and the variable that the combined options are called by, when it is set, stays in front of them.

subnet_env=/run/flannel/subnet.env
docker_env=/run/docker_opts.env
key=DOCKER_OPTS
individual=
combined=
masquerade=yes

usage() {
  cat >&2 <<TEXT
$0 [-f FLANNEL-ENV-FILE] [-d DOCKER-ENV-FILE] [-i] [-c] [-m] [-k COMBINED-KEY]

Writes the options that dockerd needs to use this node's flannel subnet.
  -f FILE  what flanneld wrote (/run/flannel/subnet.env)
  -d FILE  where the options go (/run/docker_opts.env)
  -i       only one variable per option: DOCKER_OPT_BIP, DOCKER_OPT_IPMASQ, DOCKER_OPT_MTU
  -c       only one variable with all options
  -k KEY   name of the variable with all options (DOCKER_OPTS)
  -m       leave --ip-masq out
Neither -i nor -c: both kinds.
TEXT
  exit 1
}

# fail TEXT: ends with TEXT on standard error. Not echo: dash's would read backslashes in TEXT.
fail() {
  printf '%s\n' "$1" >&2
  exit 1
}

while getopts "f:d:icmk:?h" flag; do
  case "$flag" in
    f) subnet_env=$OPTARG ;;
    d) docker_env=$OPTARG ;;
    i) individual=yes ;;
    c) combined=yes ;;
    m) masquerade= ;;
    k) key=$OPTARG ;;
    *) usage ;;
  esac
done
if [ -z "$individual$combined" ]; then
  individual=yes
  combined=yes
fi
if [ -n "$combined" ]; then
  case "$key" in
    '' | [0-9]* | *[!A-Za-z0-9_]*) fail "cannot use \"$key\" as the name of a variable: want letters, digits and _, as in -k DOCKER_OPTS" ;;
  esac
fi

# A name without a slash would be searched in PATH.
case "$subnet_env" in
  /*) ;;
  *) subnet_env=./$subnet_env ;;
esac
# No such file: flanneld is not there yet, and docker starts without it.
# shellcheck disable=SC1090
if [ -f "$subnet_env" ]; then . "$subnet_env"; fi

if [ -n "$FLANNEL_SUBNET" ]; then DOCKER_OPT_BIP=--bip=$FLANNEL_SUBNET; fi
if [ -n "$FLANNEL_MTU" ]; then DOCKER_OPT_MTU=--mtu=$FLANNEL_MTU; fi
# One of the two masquerades: docker when flanneld does not.
if [ -n "$masquerade" ]; then
  case "$FLANNEL_IPMASQ" in
    '') ;;
    true) DOCKER_OPT_IPMASQ=--ip-masq=false ;;
    false) DOCKER_OPT_IPMASQ=--ip-masq=true ;;
    *) fail "Invalid value of FLANNEL_IPMASQ: $FLANNEL_IPMASQ" ;;
  esac
fi

# option_names: every variable that is an option. `set` prints more than variables: functions in bash, further lines of a value; names alone are taken from
# it, and in the order of bytes, whatever the shell's.
option_names() {
  set | LC_ALL=C sed -n 's/^\([A-Za-z0-9_]*DOCKER_OPT_[A-Za-z0-9_]*\)=.*/\1/p' | LC_ALL=C sort -u
}

newline='
'
text=
options=
if [ -n "$combined" ]; then eval "options=\$$key"; fi
if [ -n "$options" ]; then options="$options "; fi
unset IFS # subnet.env may have changed it
set -f    # a * in a value is no pattern
for name in $(option_names); do
  # Part of a value that looks like a variable is not set.
  eval "[ -n \"\${$name+set}\" ]" || continue
  # In words, one blank between them.
  eval "set -- \$$name"
  if [ -n "$individual" ]; then text="$text$name=\"$*\"$newline"; fi
  options="$options $*"
done
if [ -n "$combined" ]; then text="$text$key=\"$options\"$newline"; fi

# In place, not by rename: it may be a link or /dev/stdout.
printf %s "$text" >"$docker_env" || fail "cannot write $docker_env; name another file with -d, or make its directory"

# route_via SUBNET: routes to exactly that subnet through a gateway, which are another node's.
route_via() {
  ip route show | while IFS= read -r route; do
    case "$route" in
      "$1 "*" via "* | "$1 via "*) printf '%s\n' "$route" ;;
    esac
  done
}

# Two nodes on one subnet: better no docker than one whose packets go elsewhere. The bridge has the subnet's first address.
host=${FLANNEL_SUBNET%/*}
case "${host##*.}" in
  '' | 0* | *[!0-9]*) exit 0 ;;
esac
taken=$(route_via "${host%.*}.$((${host##*.} - 1))/${FLANNEL_SUBNET##*/}")
if [ -n "$taken" ]; then fail "Your routing table already contains the subnet: $taken"; fi
