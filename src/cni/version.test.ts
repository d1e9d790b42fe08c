import { expect, test } from "bun:test";
import { allowsVerb, newestUpTo, VERSIONS, versionNamed } from "./version.ts";

test.each([
  ["1.0.0", "1.0.0"],
  ["", "0.1.0"],
  [undefined, "0.1.0"],
])("versionNamed(%j) is %s", (text, version) => {
  expect(versionNamed(text)).toBe(version as never);
});

test.each(["1.2.0", "1.0", "v1.0.0", "0.3.2"])("versionNamed(%j) says what it knows", (text) => {
  expect(() => versionNamed(text)).toThrow(
    expect.objectContaining({
      code: 1,
      details: expect.stringContaining(`config is "${text}", plugin supports ["0.1.0"`),
    }),
  );
});

test.each([
  ["1.1.0", ["0.4.0", "1.0.0"], "1.0.0"],
  ["0.4.0", ["0.1.0", "0.3.1", "1.0.0"], "0.3.1"],
  ["1.1.0", ["1.1.0", "2.0.0"], "1.1.0"],
  ["0.2.0", ["1.0.0"], undefined],
] as const)("newestUpTo(%s, %j) is %s", (asked, supported, newest) => {
  expect(newestUpTo(asked, supported)).toBe(newest as never);
});

test.each([
  ["ADD", "0.1.0"],
  ["DEL", "0.1.0"],
  ["CHECK", "0.4.0"],
  ["STATUS", "1.1.0"],
  ["GC", "1.1.0"],
] as const)("%s is there since %s", (verb, since) => {
  expect(VERSIONS.find((version) => allowsVerb(version, verb))).toBe(since);
});
