import { expect, test } from "bun:test";
import type { Revision } from "../registry.ts";
import { formatPoint, History, parsePoint } from "./history3.ts";
import type { ResponseHeader } from "./rpc.gen.ts";

function header(clusterId: bigint, revision: bigint, raftTerm = 2n): ResponseHeader {
  return { $typeName: "etcdserverpb.ResponseHeader", clusterId, memberId: 1n, revision, raftTerm };
}

test.each([
  ["as it goes on", [header(10n, 5n), header(10n, 5n), header(10n, 9n, 3n)], ["a.0", "a.0", "a.0"]],
  ["a revision that went back", [header(10n, 5n), header(10n, 4n), header(10n, 5n)], ["a.0", "a.1", "a.1"]],
  ["a term that went back", [header(10n, 5n, 7n), header(10n, 6n, 2n), header(10n, 7n, 2n)], ["a.0", "a.1", "a.1"]],
  ["another cluster", [header(10n, 5n), header(11n, 9n), header(11n, 9n)], ["a.0", "b.1", "b.1"]],
] as const)("History.read: %s", (_title, headers, histories) => {
  const history = new History();
  expect(headers.map((each) => history.read(each, history.mark()))).toEqual([...histories]);
});

test("History.read compares with what was known when the request was made, since answers overtake each other", () => {
  const history = new History();
  history.read(header(10n, 5n), history.mark());
  const [early, late] = [history.mark(), history.mark()];
  expect(history.read(header(10n, 8n), late)).toBe("a.0");
  expect(history.read(header(10n, 6n), early)).toBe("a.0");
});

test("History.read counts one loss once, however many requests were under way", () => {
  const history = new History();
  history.read(header(10n, 50n), history.mark());
  const [one, other] = [history.mark(), history.mark()];
  expect(history.read(header(10n, 3n), one)).toBe("a.1");
  expect(history.read(header(10n, 4n), other)).toBe("a.1");
});

test.each([
  ["a.0:41", header(10n, 41n), undefined],
  ["a.0:41", header(10n, 90n), undefined],
  ["a.0:41", header(10n, 40n), "its data was lost or replaced"],
  ["a.1:41", header(10n, 90n), "its data was lost or replaced"],
  ["b.0:41", header(10n, 90n), "it is another cluster"],
] as const)("History.departure of %s", (revision, from, why) => {
  const point = parsePoint(revision as Revision);
  if (!point) throw new Error("does not parse");
  expect(new History().departure(point, from)).toBe(why);
});

test.each(["a.0:41", "cdf818194e3a8c32.3:41:279da20f44bce768"])("parsePoint and formatPoint: %s", (text) => {
  const point = parsePoint(text as Revision);
  expect(point && formatPoint(point)).toBe(text as Revision);
});

test.each(["", "elsewhere:1", "a:1", "a.0", "a.0:", "a.0:1:", "a.0:-1", "a.0:1:g"])("parsePoint refuses %j", (text) => {
  expect(parsePoint(text as Revision)).toBeUndefined();
});
