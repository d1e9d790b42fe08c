import { expect, test } from "bun:test";
import { ViciMalformed } from "./message.ts";
import { eventPacket, PacketReader, requestPacket } from "./packet.ts";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

test("requestPacket and eventPacket", () => {
  expect(hex(requestPacket("version", {}))).toBe(`00000009${"00"}07${Buffer.from("version").toString("hex")}`);
  expect(hex(requestPacket("unload-conn", { name: "a" }))).toBe(
    `00000016000b${Buffer.from("unload-conn").toString("hex")}0304${Buffer.from("name").toString("hex")}000161`,
  );
  expect(hex(eventPacket("ike-updown", true))).toStartWith("0000000c030a");
  expect(hex(eventPacket("ike-updown", false))).toStartWith("0000000c040a");
});

const EVENT = Buffer.from(`0000000d${"07"}03${Buffer.from("sas").toString("hex")}0301${"61"}0003${"626364"}`, "hex");
const RESPONSE = Buffer.from(`00000001${"01"}`, "hex");

test("PacketReader cuts a stream into packets however it comes", () => {
  const stream = Buffer.concat([EVENT, RESPONSE, EVENT]);
  const event = { kind: "event", name: "sas", message: { a: "bcd" } } as const;
  const all = [event, { kind: "response", message: {} }, event];
  for (let size = 1; size <= stream.length; size++) {
    const reader = new PacketReader();
    const found = [];
    for (let at = 0; at < stream.length; at += size) found.push(...reader.read(stream.subarray(at, at + size)));
    expect(found).toEqual(all as never);
  }
});

test("PacketReader tells the other answers apart and refuses what is none", () => {
  const one = (type: number) => new PacketReader().read(Uint8Array.from([0, 0, 0, 1, type]));
  expect([2, 5, 6].flatMap(one)).toEqual([
    { kind: "unknown command" },
    { kind: "confirmed" },
    { kind: "unknown event" },
  ]);
  expect(() => one(3)).toThrow(ViciMalformed);
  expect(() => new PacketReader().read(Uint8Array.from([0x10, 0, 0, 0]))).toThrow("at most");
  expect(() => new PacketReader().read(Uint8Array.from([0, 0, 0, 2, 7, 5]))).toThrow("cut short");
});
