import { expect, test } from "bun:test";
import { throughputOptions } from "./options.ts";

test("throughputOptions: everything that needs no other program, without options", () => {
  expect(throughputOptions({}, undefined)).toEqual({
    rounds: 3,
    paths: ["underlay", "vxlan-by-hand", "vxlan", "host-gw-by-hand", "host-gw", "udp"],
    measurements: ["tcp1", "tcp4", "udp1400", "udp64", "mix", "rr1", "rr16"],
    forms: ["lab", "wire"],
    seconds: 2,
    plots: undefined,
    upstream: undefined,
  });
});

test("throughputOptions: upstream's udp takes part when its program is known", () => {
  expect(throughputOptions({}, "/flanneld").paths).toContain("upstream-udp");
});

test("throughputOptions: what is asked for, once and in the table's order", () => {
  const given = { runs: "20", paths: "udp,upstream-udp,udp", measure: "rr16,rr1", forms: "wire", seconds: "1" };
  expect(throughputOptions(given, "/flanneld")).toMatchObject({
    rounds: 20,
    paths: ["upstream-udp", "udp"],
    measurements: ["rr1", "rr16"],
    forms: ["wire"],
    seconds: 1,
  });
});

test("throughputOptions: names every fault", () => {
  const given = { runs: "0", paths: "vxlan,wireguard", measure: "", forms: "air", seconds: "0.5" };
  expect(() => throughputOptions(given, undefined)).toThrow(
    /^--runs: got 0, .*; --paths: got wireguard, .*; --measure: got , .*; --forms: got air, .*; --seconds: got 0.5, /,
  );
});

test("throughputOptions: upstream's paths need upstream's program", () => {
  expect(() => throughputOptions({ paths: "vxlan,upstream-vxlan" }, undefined)).toThrow(
    "--paths: upstream-vxlan need upstream's flanneld in FLANNEL_GO",
  );
});
