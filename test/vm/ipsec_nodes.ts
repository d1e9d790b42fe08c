// The guests of the ipsec backend: nodes.ts with strongSwan, and ipsec_nodes.sh before each script.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type NodesOptions, type NodesResult, runNodes } from "./nodes.ts";
import { IPSEC_MODULES, openStrongswan } from "./strongswan.ts";

/** IKE's numbers of 4096 bits take seconds on an emulated processor that others want too. */
export const LIMIT_MS = 900_000;

export const KEY = "c0ffee5ec2e7".repeat(8);
export const IPSEC = { Network: "10.5.0.0/16", Backend: { Type: "ipsec", PSK: KEY } };

export type IpsecOptions = Pick<NodesOptions, "nodes" | "etcd" | "programs" | "modules" | "variables">;

export async function runIpsec(
  script: string,
  { programs = [], modules = [], ...options }: IpsecOptions,
): Promise<NodesResult> {
  const strongswan = openStrongswan();
  const directory = mkdtempSync(join(tmpdir(), "flannel-ipsec-"));
  try {
    const text = ["ipsec_nodes.sh", script].map((name) => readFileSync(join(import.meta.dir, name), "utf8")).join("");
    const path = join(directory, script);
    writeFileSync(path, text);
    return await runNodes({
      ...options,
      script: path,
      config: IPSEC,
      families: ["ipv4"],
      programs: [...strongswan.programs, "mount", ...programs],
      files: strongswan.files,
      modules: [...IPSEC_MODULES, ...modules],
      memoryMib: 3072,
      timeLimitMs: LIMIT_MS,
    });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
