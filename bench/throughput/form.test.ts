import { expect, test } from "bun:test";
import { nodeCommands, portCommands, requireWire, sentCounters } from "./form.ts";

test("nodeCommands: a plain network card joins what it receives, and cuts nothing itself", () => {
  expect(nodeCommands("wire")).toMatch(
    /^ethtool -K eth0 .*tx-tcp-segmentation off .*tx-udp_tnl-segmentation off .*gso on gro on$/,
  );
  expect(nodeCommands("lab")).toMatch(
    /^ethtool -K eth0 .*tx-tcp-segmentation on .*tx-udp_tnl-segmentation on .*gso on gro off$/,
  );
});

test("portCommands: a switch joins nothing", () => {
  for (const form of ["lab", "wire"] as const) expect(portCommands(form, "p2")).toMatch(/^ethtool -K p2 .* gro off$/);
});

test("sentCounters: as ip -s -j link says", () => {
  const rx = { bytes: 1, packets: 1, errors: 0, dropped: 0, over_errors: 0, multicast: 0 };
  const tx = { bytes: 1_514_000, packets: 1_000, errors: 0, dropped: 0, carrier_errors: 0, collisions: 0 };
  expect(sentCounters(JSON.stringify([{ ifname: "eth0", stats64: { rx, tx } }]))).toMatchObject({
    packets: 1_000,
    bytes: 1_514_000,
  });
  expect(() => sentCounters("[]")).toThrow("want the statistics of a link");
});

test("requireWire: super-packets are refused", () => {
  const before = { packets: 10, bytes: 1_000 };
  requireWire(before, { packets: 1_010, bytes: 1_000 + 1_514 * 1_000 }, 1_500);
  expect(() => requireWire(before, { packets: 110, bytes: 1_000 + 65_000 * 100 }, 1_500)).toThrow("65000 B a packet");
});
