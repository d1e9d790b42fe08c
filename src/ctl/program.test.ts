import { afterEach, beforeEach, describe, expect, spyOn, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runProgram } from "./program.ts";

let stdout = "";
let stderr = "";
let spies: { mockRestore(): void }[] = [];

beforeEach(() => {
  [stdout, stderr] = ["", ""];
  spies = [
    spyOn(process.stdout, "write").mockImplementation((text) => {
      stdout += text;
      return true;
    }),
    spyOn(process.stderr, "write").mockImplementation((text) => {
      stderr += text;
      return true;
    }),
  ];
});

afterEach(() => {
  for (const spy of spies) spy.mockRestore();
});

describe("runProgram", () => {
  test.each([
    { argv: ["--help"], code: 0, out: "Usage: flannelctl", err: "" },
    { argv: ["--version"], code: 0, out: "1.2.3", err: "" },
    { argv: ["lab", "up", "--help"], code: 0, out: "--backend", err: "" },
    { argv: ["wat"], code: 2, out: "", err: "unknown command 'wat'" },
    { argv: ["lab", "up", "--wat"], code: 2, out: "", err: "unknown option '--wat'" },
    { argv: ["lab", "up", "--nodes", "0"], code: 2, out: "", err: "want a number from 1 to 200" },
    { argv: ["lab", "up", "--nodes", "3x"], code: 2, out: "", err: "want a number from 1 to 200" },
    { argv: ["lab", "down", "--name", "../etc"], code: 2, out: "", err: "want up to 16 lower case letters" },
    { argv: ["lab", "up", "--no-ipv4"], code: 2, out: "", err: "no address family is left" },
    { argv: ["lab", "up", "--backend", "wat"], code: 2, out: "", err: '--backend: got "wat", want a backend' },
    {
      argv: ["certs", "issue", "--out", "x", "--usage", "y"],
      code: 2,
      out: "",
      err: "--usage: got y, want one of server",
    },
    {
      argv: ["certs", "check", "--warn-days", "-1", "x"],
      code: 2,
      out: "",
      err: "want a number of days from 0 to 99999",
    },
    { argv: ["certs", "check", "x-key.pem"], code: 2, out: "", err: "only keys are named" },
    { argv: ["lab", "ping", "--name", "not-there"], code: 1, out: "", err: "no lab not-there stands" },
  ])("$argv ends with $code", async ({ argv, code, out, err }) => {
    expect(await runProgram(argv, "1.2.3")).toBe(code);
    expect(stdout).toContain(out);
    expect(stderr).toContain(err);
  });

  test("shows the line of a file in which a quote is missing", async () => {
    const directory = mkdtempSync(join(tmpdir(), "program-"));
    try {
      const path = join(directory, "ca-csr.json");
      writeFileSync(path, '{\n  "CN": "kubernetes",\n  "names": [{\n    "ST": "Tokyo,\n    "L": "Chuo-ku"\n  }]\n}\n');
      expect(await runProgram(["certs", "ca", "--csr", path, "--out", join(directory, "ca")], "1.2.3")).toBe(2);
      expect(stderr).toContain(
        `${path}, line 4, column 11: got "\\"Tokyo,", want the closing double quote of this text in the same line\n    "ST": "Tokyo,\n          ^\n`,
      );
      expect(readdirSync(directory)).toEqual(["ca-csr.json"]);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
