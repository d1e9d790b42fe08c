// Runs the tests and ends with one line, `N passed, N failed, N skipped`, counted from the runner's JUnit report. A skipped test is a failure: what is
// required here runs, or the run says that it did not.
//
//   bun test/run.ts unit    beside the code, no privileges        bun test/run.ts all          with the real kernel, as root
//   bun test/run.ts vm      only the virtual machines             bun test/run.ts kubernetes   the nodes' tests again, with Kubernetes as their store
//   bun test/run.ts long    what takes half an hour, as root      bun test/run.ts arm64        flanneld for arm64, on an emulated machine

import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

interface Run {
  readonly paths: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
}

/** What is about one store, or about no flanneld on nodes of the test's. */
const OF_ONE_STORE = /^(etcd_|kube|interop|lab|plan|side_by_side|hostile|docker_host|faults|names|throughput)/;

/** All tests that take whatever store there is. */
function withKubernetes(): Run {
  const nodes = readdirSync("test/e2e").filter((name) => name.endsWith(".test.ts") && !OF_ONE_STORE.test(name));
  const cni = ["flannel", "flannel_builtin", "containerd", "podman"].map((name) => `test/cni/${name}.test.ts`);
  const paths = [...nodes.map((name) => `test/e2e/${name}`), ...cni, "test/packaging/unit.test.ts"];
  return { paths, environment: { STORE: "kubernetes" } };
}

const SUITES: Readonly<Record<string, () => readonly Run[]>> = {
  unit: () => [{ paths: ["src", "bench", "test/layers.test.ts"] }],
  all: () => [{ paths: ["src", "bench", "test"] }, withKubernetes()],
  kubernetes: () => [withKubernetes()],
  vm: () => [{ paths: ["test/vm"] }],
  arm64: () => [{ paths: ["test/vm/arm64.long.ts"] }],
  long: () => [{ paths: ["test/long/etcd.long.ts", "test/long/kubernetes.long.ts"] }],
};

const suite = SUITES[process.argv[2] ?? "all"];
if (!suite) throw new Error(`got ${process.argv[2]}, want one of ${Object.keys(SUITES).join(", ")}`);

let stopped = false;
let child: Bun.Subprocess | undefined;
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    stopped = true;
    child?.kill(signal);
  });
}

interface Outcome {
  readonly exitCode: number;
  readonly tests: number;
  readonly failed: number;
  readonly skipped: number;
}

async function outcomeOf({ paths, environment = {} }: Run): Promise<Outcome> {
  const directory = mkdtempSync(join(tmpdir(), "flannel-test-"));
  const report = join(directory, "junit.xml");
  const files = paths.map((path) => `./${path}`);
  const options = ["--timeout=30000", "--reporter=junit", `--reporter-outfile=${report}`];
  child = Bun.spawn([process.execPath, "test", ...options, ...files], {
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, ...environment },
  });
  const exitCode = await child.exited;
  let xml = "";
  try {
    xml = readFileSync(report, "utf8");
  } catch {
    console.log("the test runner left no report");
  }
  rmSync(directory, { recursive: true, force: true });
  const count = (name: string) => Number(new RegExp(`<testsuites[^>]* ${name}="(\\d+)"`).exec(xml)?.[1] ?? 0);
  return { exitCode, tests: count("tests"), failed: count("failures"), skipped: count("skipped") };
}

const outcomes: Outcome[] = [];
for (const run of suite()) if (!stopped) outcomes.push(await outcomeOf(run));
const sum = (part: (outcome: Outcome) => number) => outcomes.reduce((total, outcome) => total + part(outcome), 0);
const [tests, failed, skipped] = [sum((o) => o.tests), sum((o) => o.failed), sum((o) => o.skipped)];
console.log(`${tests - failed - skipped} passed, ${failed} failed, ${skipped} skipped`);
const green = outcomes.every((outcome) => outcome.exitCode === 0 && outcome.tests > 0);
process.exitCode = green && !stopped && failed === 0 && skipped === 0 ? 0 : 1;
