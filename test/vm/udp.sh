# Run in a guest by udp.test.ts: the udp backend on the guest's kernel, which is older than what its packet loop would like: TCP, and datagrams of all sizes.

BYTES=4000000

# become_bun N WORDS…, in a pod: flanneld's executable has the runtime in it. For `&`, see become_pod.
become_bun() {
  bun_n=$1
  shift
  BUN_BE_BUN=1 become_pod "$bun_n" flanneld "$@"
}

# transfer FROM TO: a file over TCP, compared by its checksum.
transfer() {
  become_pod "$2" dash -c "nc -l -p 5000 <>/tmp/silence | sha256sum" >/tmp/arrived &
  transfer_pid=$!
  wait_for "a listener" in_pod "$2" dash -c "netstat -ltn | grep -q ':5000 '"
  in_pod "$1" nc -w 20 "$(pod_address "$2" ipv4)" 5000 </tmp/file
  wait "$transfer_pid"
  say transfers "$1 > $2: $([ "$(sha256sum </tmp/file)" = "$(cat /tmp/arrived)" ] && echo whole || echo damaged)"
}

uname -r >/out/release
mkfifo /tmp/silence # whose reader never sees its end, for which nc would hang up
head -c $BYTES /dev/urandom >/tmp/file
echo "$(uptime_s) start"
each start
each ready
each make_pod
ping_all start
echo "$(uptime_s) pinged"
# 1472 bytes with the headers of IPv4 and ICMP, in one piece; one more in no piece; and more than that in several.
ping_pod sizes 1 2 ipv4 -M do -s 1444
ping_pod sizes 1 2 ipv4 -M do -s 1445
ping_pod sizes 1 2 ipv4 -M dont -s 4000

echo "$(uptime_s) TCP"
transfer 1 2
transfer 2 1
echo "$(uptime_s) datagrams"
become_bun 2 /datagrams.js serve >/out/log-datagrams 2>&1 &
wait_for "a server of datagrams" grep -q serving /out/log-datagrams
say datagrams "$( (become_bun 1 /datagrams.js ask "$(pod_address 2 ipv4)") 2>&1)"
kill -QUIT "$(cat /run/flanneld-1)"
wait_for "counters" grep -q 'sent packets' /out/log-1
echo "$(uptime_s) end"
