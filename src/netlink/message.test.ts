import { describe, expect, test } from "bun:test";
import { captured, exchanges } from "../../test/fixtures/netlink/captured.ts";
import { MalformedMessage } from "./error.ts";
import { decodeAnswer, MessageReader } from "./message.ts";
import { decodeNotifications, decodeObject } from "./notification.ts";

function answerTo(command: string, occurrence = 0): ReturnType<typeof decodeAnswer> {
  const message = new MessageReader(captured(command, occurrence).received.at(-1) ?? new Uint8Array());
  expect(message.next()).toBe(true);
  return decodeAnswer(message);
}

describe("decodeAnswer", () => {
  test("reads the kernel's own words after a request that is repeated whole", () => {
    const kernelMessage = "Device for nexthop is not up";
    expect(answerTo("ip nexthop add id 1003 blackhole")).toEqual({ errno: 100, kernelMessage, offset: undefined });
  });

  test("reads a refusal without words", () => {
    const answer = { errno: 3, kernelMessage: undefined, offset: undefined };
    expect(answerTo("ip route delete 10.5.3.0/24", 1)).toEqual(answer);
  });

  test("reads the kernel's own words at the end of a dump", () => {
    const kernelMessage = "ipv4: FIB table does not exist";
    expect(answerTo("ip route show table 9999")).toEqual({ errno: 2, kernelMessage, offset: undefined });
  });

  test("reads words and offset after the mere header of a request (NETLINK_CAP_ACK)", () => {
    // Answer to RTM_NEWNEXTHOP with NHA_OIF of 2 bytes, sent by RequestSocket (Linux 6.18).
    const hex =
      "700000000200000303000000d47f0000eaffffff280000006800050603000000000000001d000100696e76616c6964206174747269627574" +
      "65206c656e677468000000000800020020000000240004800c00040000000000000000000c000500ffffffff000000000800010004000000";
    const message = new MessageReader(Buffer.from(hex, "hex"));
    expect(message.next()).toBe(true);
    expect(decodeAnswer(message)).toEqual({ errno: 22, kernelMessage: "invalid attribute length", offset: 32 });
  });
});

describe("MessageReader", () => {
  const [first, second] = captured("bridge fdb show dev flannel.1").received;
  if (!first || !second) throw new Error("want two messages");

  test("steps through all messages of a datagram", () => {
    const notifications = decodeNotifications(Buffer.concat([first, second]));
    expect(notifications.map(({ change, object }) => [change, object.kind])).toEqual([
      ["new", "fdb"],
      ["new", "fdb"],
    ]);
  });

  test.each([
    ["a header cut short", first.subarray(0, 15)],
    ["a message cut short", first.subarray(0, first.length - 1)],
    ["a second message cut short", Buffer.concat([first, second.subarray(0, 20)])],
    ["a length below the header's own", Buffer.from("0f000000100000000000000000000000", "hex")],
    ["a body shorter than its family's header", Buffer.from("1400000010000000000000000000000000000000", "hex")],
    ["an attribute longer than its message", patched(first, 28, 0xff)],
    ["an attribute shorter than its own header", patched(first, 28, 3)],
    [
      "a number in an attribute of too few bytes",
      Buffer.from("240000001000000000000000000000000000000000000000010000000000000004000400", "hex"),
    ],
  ])("takes %s for malformed", (_, bytes) => {
    expect(() => decodeNotifications(bytes)).toThrow(MalformedMessage);
  });
});

describe("decoders throw nothing but MalformedMessage", () => {
  const random = randomNumbers(20261122);
  const messages = exchanges.flatMap(({ sent, received }) => [...sent, ...received]);

  test("whatever byte of a real message is changed", () => {
    let decodedWhole = 0;
    for (const bytes of messages) {
      for (let i = 0; i < 200; i++) {
        const broken = Uint8Array.from(bytes);
        for (let n = 1 + (random() % 4); n > 0; n--) broken[4 + (random() % (broken.length - 4))] = random();
        if (survives(broken)) decodedWhole++;
      }
    }
    expect(decodedWhole).toBeGreaterThan(0);
  });

  test("wherever a real message ends too early", () => {
    for (const bytes of messages) {
      for (let length = 16; length < bytes.length; length++) {
        const cut = Uint8Array.from(bytes.subarray(0, length));
        new DataView(cut.buffer).setUint32(0, length, true);
        survives(cut);
      }
    }
    expect(messages.length).toBeGreaterThan(100);
  });

  test("for random bytes under every message type", () => {
    for (let type = 0; type < 128; type++) {
      for (let i = 0; i < 100; i++) {
        const bytes = Uint8Array.from({ length: 16 + (random() % 200) }, () => random());
        const view = new DataView(bytes.buffer);
        view.setUint32(0, bytes.length, true);
        view.setUint16(4, type, true);
        survives(bytes);
      }
    }
  });

  /** Whether all of it could be read. */
  function survives(bytes: Uint8Array): boolean {
    try {
      const message = new MessageReader(bytes);
      while (message.next()) {
        decodeObject(message);
        if (message.type < 16) decodeAnswer(message);
      }
      return true;
    } catch (error) {
      expect(error).toBeInstanceOf(MalformedMessage);
      return false;
    }
  }
});

function patched(bytes: Uint8Array, offset: number, value: number): Uint8Array {
  const copy = Uint8Array.from(bytes);
  copy[offset] = value;
  return copy;
}

/** The same numbers in every run: a linear congruential generator (Numerical Recipes), its upper bits. */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 8;
  };
}
