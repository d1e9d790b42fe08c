import { expect, test } from "bun:test";
import { cpuPerGigabyte, receivedByIperf3, udpValues } from "./figures.ts";

test("receivedByIperf3: takes the receiver's sum, whatever stands around the JSON", () => {
  const end = {
    sum_sent: { bytes: 2_000_000, bits_per_second: 16e6 },
    sum_received: { bytes: 1_000_000, bits_per_second: 8e6 },
  };
  const json = JSON.stringify({ start: {}, end }, null, "\t");
  for (const output of [json, `warning: this system does not seem to support IPv6\n${json}\n`]) {
    expect(receivedByIperf3(output)).toEqual({ bitsPerSecond: 8e6, bytes: 1_000_000 });
  }
});

test.each([
  [JSON.stringify({ start: {}, end: {}, error: "unable to connect to server: No route to host" }), "No route to host"],
  [JSON.stringify({ end: { sum_received: { bytes: 0, bits_per_second: 0 } } }), "received nothing"],
  ["", "received nothing"],
  ["iperf3: not found", "received nothing"],
])("receivedByIperf3: %j is no figure", (output, message) => {
  expect(() => receivedByIperf3(output)).toThrow(message);
});

test("cpuPerGigabyte: jiffies that were not idle, over 10⁹ bytes", () => {
  // Two cores for a second, one of them idle: a second of work.
  expect(cpuPerGigabyte({ idle: 1_000, total: 5_000 }, { idle: 1_100, total: 5_200 }, 500e6)).toBe(2);
});

test("udpValues: the rate is the receiver's, the loss that of what was sent", () => {
  expect(udpValues({ packets: 200_000 }, { packets: 50_000, seconds: 0.5 })).toEqual({ rate: 100, lost: 75 });
});

test("udpValues: nothing that arrived is no figure", () => {
  expect(() => udpValues({ packets: 10 }, { packets: 0, seconds: 0 })).toThrow("of 10 datagrams 0 arrived");
  expect(() => udpValues({ packets: 10 }, { packets: 1, seconds: 0 })).toThrow("of 10 datagrams 1 arrived");
});
