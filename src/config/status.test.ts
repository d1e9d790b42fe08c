import { expect, test } from "bun:test";
import type { Prefix } from "../ip/prefix.ts";
import { formatStatus, parseStatus, type Status } from "./status.ts";

const status: Status = {
  version: "0.1.0",
  pid: 17,
  startTime: 123_456,
  phase: "lease",
  cause: "the store does not answer",
  since: "2026-01-02T03:04:05.000Z",
  network: { ipv4: "10.5.0.0/16" as Prefix },
  store: { kind: "embedded", reachable: false, since: "2026-01-02T03:04:05.000Z" },
  peers: 0,
};

test("a status is read as it was written, on lines that people can read", () => {
  const text = formatStatus(status);
  expect(text).toStartWith('{\n  "version": "0.1.0",\n  "pid": 17,\n');
  expect(text).toEndWith("}\n");
  expect(parseStatus(text)).toEqual(status);
});

test.each([
  ["nothing", ""],
  ["half a file", formatStatus(status).slice(0, 50)],
  ["a list", "[]"],
  ["no pid", JSON.stringify({ ...status, pid: undefined })],
  ["a pid that is text", JSON.stringify({ ...status, pid: "17" })],
  ["a phase of another version", JSON.stringify({ ...status, phase: "dreaming" })],
])("parseStatus finds no status in %s", (_, text) => {
  expect(parseStatus(text)).toBeUndefined();
});
