import { expect, test } from "bun:test";
import { resultOf } from "./load_result.ts";

test("resultOf: the last line, after the program was ready", () => {
  expect(resultOf<object>('ready\n{"packets":3,"seconds":0.5}\n')).toEqual({ packets: 3, seconds: 0.5 });
});

test.each(["", "ready\n", "ready\nerror: out of memory\n", "ready\n7\n"])("resultOf: %j is no result", (output) => {
  expect(() => resultOf(output)).toThrow("want a result as JSON");
});
