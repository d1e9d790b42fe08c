import { afterAll } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openRegistry } from "../../src/subnet/open.ts";
import { registryContract } from "./registry_contract.ts";

const directory = mkdtempSync(join(tmpdir(), "flannel-contract-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

registryContract(
  "the embedded store",
  (store) => openRegistry({ kind: "embedded", path: join(directory, store) }, new AbortController().signal),
  300,
);
