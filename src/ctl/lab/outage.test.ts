import { describe, expect, test } from "bun:test";
import { absenceMs, outageOf, parseLinkEvents, parseReplies } from "./outage.ts";

// Captured: ping -n -D -i 0.1 10.9.9.1 (iputils 20221126); the third answer taken out and an error, as a router sends
// it, put in its place.
const PING = `PING 10.9.9.1 (10.9.9.1) 56(84) bytes of data.
[1795366578.649951] 64 bytes from 10.9.9.1: icmp_seq=1 ttl=64 time=0.033 ms
[1795366578.753718] 64 bytes from 10.9.9.1: icmp_seq=2 ttl=64 time=0.046 ms
[1795366578.857745] From 10.9.9.3 icmp_seq=3 Destination Host Unreachable
[1795366578.961827] 64 bytes from 10.9.9.1: icmp_seq=4 ttl=64 time=0.054 ms

--- 10.9.9.1 ping statistics ---
4 packets transmitted, 4 received, 0% packet loss, time 312ms
`;

// Captured: ip -ts monitor link (iproute2 6.1), while flannel.1 was deleted and made again by hand.
const MONITOR = `[2026-11-22T16:56:18.500010] 3: d0@d1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default
    link/ether 82:5f:d7:41:32:15 brd ff:ff:ff:ff:ff:ff
[2026-11-22T16:56:18.509739] 4: flannel.1: <BROADCAST,MULTICAST> mtu 1400 qdisc noqueue state DOWN group default
    link/ether 02:00:00:00:04:02 brd ff:ff:ff:ff:ff:ff
[2026-11-22T16:56:18.509926] Deleted 4: flannel.1: <BROADCAST,MULTICAST> mtu 1400 qdisc noop state DOWN group default
    link/ether 02:00:00:00:04:02 brd ff:ff:ff:ff:ff:ff
[2026-11-22T16:56:18.534321] 3: d0@d1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default
    link/ether 82:5f:d7:41:32:15 brd ff:ff:ff:ff:ff:ff
[2026-11-22T16:56:18.534371] 5: flannel.1: <BROADCAST,MULTICAST> mtu 1400 qdisc noop state DOWN group default
    link/ether 02:00:00:00:04:02 brd ff:ff:ff:ff:ff:ff
[2026-11-22T16:56:18.541157] 5: flannel.1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1400 qdisc noqueue state UNKNOWN group default
    link/ether 02:00:00:00:04:02 brd ff:ff:ff:ff:ff:ff
`;

describe("parseReplies", () => {
  test("parseReplies: only answers count, not errors", () => {
    expect(parseReplies(PING).map((reply) => reply.sequence)).toEqual([1, 2, 4]);
  });
});

describe("outageOf", () => {
  test("outageOf: counts what is missing between answers, and the longest silence", () => {
    const outage = outageOf(parseReplies(PING));
    expect(outage).toMatchObject({ lost: 1, sent: 4 });
    expect(outage.silenceMs).toBeCloseTo(208.109, 2);
  });

  test("outageOf: a duplicate answers nothing else", () => {
    const replies = [1, 1, 3].map((sequence, i) => ({ sequence, at: i }));
    expect(outageOf(replies)).toMatchObject({ lost: 1, sent: 3 });
  });

  test("outageOf: no answer, no outage to measure", () => {
    expect(outageOf([])).toEqual({ lost: 0, sent: 0, silenceMs: 0 });
  });
});

describe("absenceMs", () => {
  test("absenceMs: from the deletion until the link is up again", () => {
    const events = parseLinkEvents(MONITOR, "flannel.1");
    expect(events.map((event) => event.kind)).toEqual(["down", "deleted", "down", "up"]);
    // Times of a monitor have microseconds, Date has milliseconds.
    expect(absenceMs(events)).toBeOneOf([31, 32]);
  });

  test("absenceMs: undefined while it is gone, and for a link that was never deleted", () => {
    expect(absenceMs(parseLinkEvents(MONITOR, "flannel.1").slice(0, 3))).toBeUndefined();
    expect(absenceMs(parseLinkEvents(MONITOR, "d0"))).toBeUndefined();
  });
});
