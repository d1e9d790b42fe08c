import { expect, test } from "bun:test";
import { addressNumber, parseAddress } from "../ip/address.ts";
import { maskOf, PeerTable } from "./peer_table.ts";

function numberOf(text: string): number {
  const address = parseAddress(text);
  if (!address) throw new RangeError(text);
  return Number(addressNumber(address));
}

function route(prefix: string, address: string) {
  const [subnet = "", length] = prefix.split("/");
  return { subnet: numberOf(subnet), length: Number(length), address: numberOf(address), port: 8285 };
}

/** Where packets to `destination` go. */
function look(table: PeerTable, destination: string): number | undefined {
  return table.address[table.find(numberOf(destination))];
}

test("PeerTable finds the longest prefix, and nobody outside of all", () => {
  const table = new PeerTable();
  table.set(route("10.5.0.0/20", "192.0.2.1"));
  table.set(route("10.5.2.0/24", "192.0.2.2"));
  table.set(route("200.1.0.0/16", "192.0.2.3"));
  for (let again = 0; again < 2; again++) {
    expect(look(table, "10.5.1.255")).toBe(numberOf("192.0.2.1"));
    expect(look(table, "10.5.2.7")).toBe(numberOf("192.0.2.2"));
    expect(look(table, "200.1.255.255")).toBe(numberOf("192.0.2.3"));
    expect(look(table, "10.5.16.0")).toBeUndefined();
    expect(look(table, "0.0.0.0")).toBeUndefined();
    expect(look(table, "255.255.255.255")).toBeUndefined();
  }
});

test("PeerTable forgets what is deleted, also right after it was found, and gives numbers again", () => {
  const table = new PeerTable();
  table.set(route("10.5.2.0/24", "192.0.2.2"));
  expect(look(table, "10.5.2.1")).toBe(numberOf("192.0.2.2"));
  table.set(route("10.5.2.0/24", "192.0.2.9"));
  expect(look(table, "10.5.2.1")).toBe(numberOf("192.0.2.9"));
  expect([table.isSender(numberOf("192.0.2.2")), table.isSender(numberOf("192.0.2.9"))]).toEqual([false, true]);
  table.delete(numberOf("10.5.2.0"), 24);
  table.delete(numberOf("10.5.2.0"), 24);
  expect(look(table, "10.5.2.1")).toBeUndefined();
  expect([table.size, table.isSender(numberOf("192.0.2.9"))]).toEqual([0, false]);
  table.set(route("10.5.3.0/24", "192.0.2.3"));
  expect([table.address.length, table.size]).toEqual([1, 1]);
});

test("PeerTable: a sender with two subnets is one until both are gone", () => {
  const table = new PeerTable();
  table.set(route("10.5.2.0/24", "192.0.2.2"));
  table.set(route("10.5.3.0/24", "192.0.2.2"));
  table.delete(numberOf("10.5.2.0"), 24);
  expect(table.isSender(numberOf("192.0.2.2"))).toBe(true);
  table.delete(numberOf("10.5.3.0"), 24);
  expect(table.isSender(numberOf("192.0.2.2"))).toBe(false);
});

test("maskOf()", () => {
  expect([0, 1, 16, 24, 32].map(maskOf)).toEqual([0, 0x8000_0000, 0xffff_0000, 0xffff_ff00, 0xffff_ffff]);
});
