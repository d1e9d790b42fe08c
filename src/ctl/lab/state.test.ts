import { describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseAddress } from "../../ip/address.ts";
import { type LabOptions, layoutOf } from "./layout.ts";
import { claim, endpointsOf, formatState, type LabState, openLab, parseState, readState, writeState } from "./state.ts";

// A name that no lab of this machine has: `claim` also looks at its network namespaces.
const OPTIONS: LabOptions = { name: `s${process.pid}`, nodes: 2, pods: 1, families: ["ipv4"], backend: "vxlan" };
const address = parseAddress("10.244.1.2");
const STATE: LabState = {
  options: OPTIONS,
  phase: "up",
  owner: { pid: 10, startTime: 1234 },
  daemons: { n1: { pid: 11, startTime: 1235 } },
  pods: { n1p1: address ? { ipv4: address } : {} },
};

function inDirectory(work: (root: string) => void): void {
  const root = mkdtempSync(join(tmpdir(), "lab-state-"));
  try {
    work(root);
  } finally {
    rmSync(root, { recursive: true });
  }
}

describe("parseState", () => {
  test("parseState: reads what formatState wrote", () => {
    expect(parseState(formatState(STATE))).toEqual(STATE);
  });

  test.each(["", "{}", "null", '{"version":2}', '{"version":1,"options":{}}'])("parseState: throws on %p", (text) => {
    expect(() => parseState(text)).toThrow();
  });
});

describe("readState", () => {
  test("readState: undefined without a file, an error naming the file when it is damaged", () => {
    inDirectory((root) => {
      expect(readState(OPTIONS.name, root)).toBeUndefined();
      const lab = layoutOf(OPTIONS, root);
      mkdirSync(lab.directory);
      writeFileSync(lab.stateFile, "{");
      expect(() => readState(OPTIONS.name, root)).toThrow(lab.stateFile);
    });
  });

  test("writeState: replaces the file whole and leaves no other", () => {
    inDirectory((root) => {
      const lab = layoutOf(OPTIONS, root);
      mkdirSync(lab.directory);
      writeState(lab, { ...STATE, phase: "building" });
      writeState(lab, STATE);
      expect(readState(OPTIONS.name, root)).toEqual(STATE);
      expect(readdirSync(lab.directory)).toEqual(["state.json"]);
    });
  });
});

describe("openLab", () => {
  test("openLab: refuses a lab that is not complete, and says how to remove it", () => {
    inDirectory((root) => {
      const lab = layoutOf(OPTIONS, root);
      mkdirSync(lab.directory);
      writeState(lab, { ...STATE, phase: "building" });
      expect(() => openLab(OPTIONS.name, root)).toThrow(`flannelctl lab down --name ${OPTIONS.name}`);
      writeState(lab, STATE);
      expect(openLab(OPTIONS.name, root).lab).toEqual(lab);
      expect(() => openLab("absent", root)).toThrow(`no lab absent stands; there are: ${OPTIONS.name}`);
    });
  });
});

describe("claim", () => {
  test("claim: a name is taken once", () => {
    inDirectory((root) => {
      const lab = layoutOf(OPTIONS, root);
      claim(lab, root);
      expect(() => claim(lab, root)).toThrow("already stands");
    });
  });
});

describe("endpointsOf", () => {
  test("endpointsOf: every pod in order, one that has no address yet without", () => {
    expect(endpointsOf(layoutOf(OPTIONS), STATE.pods).map((pod) => [pod.name, pod.address])).toEqual([
      ["n1p1", STATE.pods.n1p1 ?? {}],
      ["n2p1", {}],
    ]);
  });
});
