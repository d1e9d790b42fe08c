import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { generate } from "./checksum_generate.ts";

test("checksum.gen.ts is what make wasm gives", async () => {
  expect(await generate()).toBe(readFileSync(join(import.meta.dir, "checksum.gen.ts"), "utf8"));
});
