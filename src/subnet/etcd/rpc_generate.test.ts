import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { generate } from "./rpc_generate.ts";

test("rpc.gen.ts is what make proto gives", () => {
  expect(generate()).toBe(readFileSync(join(import.meta.dir, "rpc.gen.ts"), "utf8"));
}, 20_000);
