// Runs the tests and ends with one line, `N passed, N failed, N skipped`, counted from the runner's JUnit report. A skipped test is a failure: what is
// required here runs, or the run says that it did not. What failed is told again just before that line, since half an hour of output lies between.
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

/** What is about one store, about no flanneld on nodes of the test's, or about what no store has to do with. */
const OF_ONE_STORE =
  /^(etcd_|kube|interop|lab|plan|side_by_side|hostile|docker_host|faults|names|throughput|udp_fallback)/;

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

/** Lines of output kept for a failed test: its error with the code around it, and what the test printed. */
const LINES_OF_A_FAILURE = 80;

interface Failure {
  readonly file: string;
  readonly test: string;
  readonly output: readonly string[];
}

/** After the runner's end: a program that a test left behind may hold its output open for ever. */
const LAST_WORDS_MS = 1_000;

/** Passes the runner's output on as it comes, and keeps what was printed since the test before for each test that failed. */
async function show(
  output: ReadableStream<Uint8Array>,
  to: NodeJS.WriteStream,
  failures: Failure[],
  exited: Promise<unknown>,
): Promise<void> {
  const reader = output.getReader();
  void exited.then(() => Bun.sleep(LAST_WORDS_MS)).then(() => reader.cancel());
  let [rest, file, lines] = ["", "", [] as string[]];
  const decoder = new TextDecoder();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    to.write(value);
    const parts = (rest + decoder.decode(value, { stream: true })).split("\n");
    rest = parts.pop() ?? "";
    for (const line of parts) {
      const ended = /^\((pass|fail|skip|todo)\) (.*)/.exec(line);
      if (ended?.[1] === "fail")
        failures.push({ file, test: ended[2] ?? "", output: lines.slice(-LINES_OF_A_FAILURE) });
      if (/^\S+\.ts:$/.test(line)) file = line.slice(0, -1);
      if (ended) lines = [];
      else lines.push(line);
    }
  }
}

interface Outcome {
  readonly exitCode: number;
  readonly failures: readonly Failure[];
  readonly environment: Readonly<Record<string, string>>;
  readonly tests: number;
  readonly failed: number;
  readonly skipped: number;
}

async function outcomeOf({ paths, environment = {} }: Run): Promise<Outcome> {
  const directory = mkdtempSync(join(tmpdir(), "flannel-test-"));
  const report = join(directory, "junit.xml");
  const files = paths.map((path) => `./${path}`);
  const options = ["--timeout=30000", "--reporter=junit", `--reporter-outfile=${report}`];
  const runner = Bun.spawn([process.execPath, "test", ...options, ...files], {
    stdio: ["ignore", "inherit", "pipe"],
    env: { ...process.env, ...environment },
  });
  child = runner;
  const failures: Failure[] = [];
  const shown = show(runner.stderr, process.stderr, failures, runner.exited);
  const exitCode = await runner.exited;
  await shown;
  let xml = "";
  try {
    xml = readFileSync(report, "utf8");
  } catch {
    console.log("the test runner left no report");
  }
  rmSync(directory, { recursive: true, force: true });
  const count = (name: string) => Number(new RegExp(`<testsuites[^>]* ${name}="(\\d+)"`).exec(xml)?.[1] ?? 0);
  return {
    exitCode,
    failures,
    environment,
    tests: count("tests"),
    failed: count("failures"),
    skipped: count("skipped"),
  };
}

const outcomes: Outcome[] = [];
for (const run of suite()) if (!stopped) outcomes.push(await outcomeOf(run));
const sum = (part: (outcome: Outcome) => number) => outcomes.reduce((total, outcome) => total + part(outcome), 0);
const [tests, failed, skipped] = [sum((o) => o.tests), sum((o) => o.failed), sum((o) => o.skipped)];
for (const { failures, environment } of outcomes) {
  const where = Object.entries(environment).map(([name, value]) => `${name}=${value} `);
  for (const { file, test, output } of failures) {
    console.log(`\nfailed: ${where.join("")}${file}: ${test}\n${output.map((line) => `  ${line}`).join("\n")}`);
  }
}
console.log(`${tests - failed - skipped} passed, ${failed} failed, ${skipped} skipped`);
const green = outcomes.every((outcome) => outcome.exitCode === 0 && outcome.tests > 0);
process.exitCode = green && !stopped && failed === 0 && skipped === 0 ? 0 : 1;
