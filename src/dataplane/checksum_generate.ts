// Makes checksum.gen.ts from checksum.wat with the npm package wabt (WebAssembly's own text format tools): `make wasm`. The bytes stand as base64 in a module,
// so that the one executable holds them.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import wabt from "wabt";

const SOURCE = join(import.meta.dir, "checksum.wat");

/** The text of checksum.gen.ts. */
export async function generate(): Promise<string> {
  const tools = await wabt();
  const module = tools.parseWat("checksum.wat", readFileSync(SOURCE, "utf8"), { simd: true });
  try {
    module.validate();
    const { buffer } = module.toBinary({});
    const text = Buffer.from(buffer).toString("base64");
    return `// Made by checksum_generate.ts from checksum.wat; do not edit.\n\nexport const CHECKSUM_WASM =\n  "${text}";\n`;
  } finally {
    module.destroy();
  }
}

if (import.meta.main) writeFileSync(join(import.meta.dir, "checksum.gen.ts"), await generate());
