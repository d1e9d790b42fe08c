import { expect, spyOn, test } from "bun:test";
import { PassThrough } from "node:stream";
import { inputOf } from "./input.ts";

function stream(text: string): NodeJS.ReadStream {
  const through = new PassThrough();
  through.end(text);
  return through as unknown as NodeJS.ReadStream;
}

test("text: all of it, letters that came in two pieces whole", async () => {
  const through = new PassThrough();
  through.write(new Uint8Array([0xc3]));
  through.end(new Uint8Array([0xa4, 0x0a]));
  expect(await inputOf(through as unknown as NodeJS.ReadStream).text()).toBe("ä\n");
});

test.each([
  ["y\n", true],
  ["YES\n", true],
  [" yes \n", true],
  ["n\n", false],
  ["\n", false],
  ["yesterday\n", false],
])("agrees: %j is %p", async (text, expected) => {
  const written = spyOn(process.stderr, "write").mockImplementation(() => true);
  try {
    expect(await inputOf(stream(text)).agrees("go on?", new AbortController().signal)).toBe(expected);
  } finally {
    written.mockRestore();
  }
});

test("agrees: an interrupt ends the question with its reason", async () => {
  const written = spyOn(process.stderr, "write").mockImplementation(() => true);
  const controller = new AbortController();
  const open = new PassThrough() as unknown as NodeJS.ReadStream;
  const asked = inputOf(open).agrees("go on?", controller.signal);
  controller.abort(new Error("interrupted"));
  try {
    await expect(asked).rejects.toThrow("interrupted");
  } finally {
    written.mockRestore();
  }
});
