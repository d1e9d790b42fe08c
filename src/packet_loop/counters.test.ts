import { expect, test } from "bun:test";
import { Verdict } from "../dataplane/verdict.ts";
import { Counter, count, counterText, newCounters } from "./counters.ts";

test("counterText() names traffic always, and drops where there were some", () => {
  const counters = newCounters();
  const traffic =
    "sent packets 0, sent bytes 0, sent messages 0, received packets 0, received bytes 0, writes to the device 0, sent one by one 0, ICMP errors 0";
  expect(counterText(counters)).toBe(`${traffic}; dropped: none`);
  count(counters, Counter.foreignDestination, 2);
  count(counters, Counter.fromDevice + Verdict.expired, 1);
  count(counters, Counter.fromPeers + Verdict.short, 3);
  expect(counterText(counters)).toBe(
    `${traffic}; dropped: destination outside the network 2, from peers: too short 3, from the device: TTL used up 1`,
  );
});

test("every verdict has a counter of its own on either side", () => {
  expect(Math.max(...Object.values(Verdict))).toBeLessThan(Counter.fromPeers - Counter.fromDevice);
  expect(Counter.fromPeers + Math.max(...Object.values(Verdict))).toBeLessThan(newCounters().length);
});
