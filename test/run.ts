// Runs the tests and ends with one line, `N passed, N failed, N skipped`, counted from the runner's JUnit report. A skipped test is a failure: what is
// required here runs, or the run says that it did not.
//
//   bun test/run.ts unit    beside the code, no privileges        bun test/run.ts all    with the real kernel, as root
//   bun test/run.ts vm      only the virtual machines             bun test/run.ts long   what takes half an hour, as root

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const SUITES: Readonly<Record<string, readonly string[]>> = {
  unit: ["src", "bench", "test/layers.test.ts"],
  all: ["src", "bench", "test"],
  vm: ["test/vm"],
  long: ["test/long/etcd.long.ts"],
};

const suite = SUITES[process.argv[2] ?? "all"];
if (!suite) throw new Error(`got ${process.argv[2]}, want one of ${Object.keys(SUITES).join(", ")}`);

const directory = mkdtempSync(join(tmpdir(), "flannel-test-"));
const report = join(directory, "junit.xml");
const paths = suite.map((path) => `./${path}`);
const child = Bun.spawn(
  [process.execPath, "test", "--timeout=30000", "--reporter=junit", `--reporter-outfile=${report}`, ...paths],
  {
    stdio: ["ignore", "inherit", "inherit"],
  },
);
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => child.kill(signal));
const exitCode = await child.exited;

const count = (name: string, text: string) =>
  Number(new RegExp(`<testsuites[^>]* ${name}="(\\d+)"`).exec(text)?.[1] ?? 0);
let xml = "";
try {
  xml = readFileSync(report, "utf8");
} catch {
  console.log("the test runner left no report");
}
rmSync(directory, { recursive: true, force: true });
const [tests, failed, skipped] = ["tests", "failures", "skipped"].map((name) => count(name, xml)) as [
  number,
  number,
  number,
];
console.log(`${tests - failed - skipped} passed, ${failed} failed, ${skipped} skipped`);
process.exitCode = exitCode !== 0 || failed > 0 || skipped > 0 || tests === 0 ? 1 : 0;
