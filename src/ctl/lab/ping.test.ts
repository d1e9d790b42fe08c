import { describe, expect, test } from "bun:test";
import { isComplete, parsePingSummary } from "./ping.ts";

// Captured with iputils 20221126: `ping -n -q -c 3 ADDRESS` of an own address, and of a neighbour that is not there.
const REACHED = `PING 10.9.9.1 (10.9.9.1) 56(84) bytes of data.

--- 10.9.9.1 ping statistics ---
3 packets transmitted, 3 received, 0% packet loss, time 47ms
rtt min/avg/max/mdev = 0.046/0.075/0.120/0.031 ms
`;
const UNREACHED = `PING 10.9.9.2 (10.9.9.2) 56(84) bytes of data.

--- 10.9.9.2 ping statistics ---
3 packets transmitted, 0 received, +3 errors, 100% packet loss, time 628ms
pipe 3
`;

describe("parsePingSummary", () => {
  test.each([
    { name: "all answered", output: REACHED, result: { sent: 3, received: 3, rttMs: 0.075 }, complete: true },
    { name: "none answered", output: UNREACHED, result: { sent: 3, received: 0, rttMs: undefined }, complete: false },
  ])("parsePingSummary: $name", ({ output, result, complete }) => {
    const parsed = parsePingSummary(output);
    expect(parsed).toEqual(result);
    expect(parsed && isComplete(parsed)).toBe(complete);
  });

  test("parsePingSummary: undefined when ping never came to its summary", () => {
    expect(parsePingSummary("ping: connect: Network is unreachable\n")).toBeUndefined();
  });

  test("isComplete: a ping that sent nothing proves nothing", () => {
    expect(isComplete({ sent: 0, received: 0, rttMs: undefined })).toBe(false);
  });
});
