import { describe, expect, test } from "bun:test";
import { createLog } from "./log.ts";

/** What a program that logs one line writes to standard error; `TZ` in the form of POSIX, which needs no file. */
function logged(statement: string, TZ = "UTC0"): string {
  const program = `import { createLog } from "${import.meta.dir}/log.ts"; const log = createLog(1); ${statement}`;
  const { stderr } = Bun.spawnSync([process.execPath, "-e", program], { env: { ...process.env, TZ } });
  return stderr.toString();
}

describe("createLog", () => {
  test("a line has the header of klog, in local time", () => {
    const before = Date.now();
    const line = logged('log.info("hello")', "TST-05:30");
    const after = Date.now();
    const match = /^I(\d{4} \d\d:\d\d:\d\d\.\d{3})000 {1,6}\d+ flanneld\] hello\n$/.exec(line);
    // Five and a half hours ahead of UTC; 1122 16:03:25.123 in the order of a date.
    const stamps = [before, after].map((ms) => {
      const [date = "", time = ""] = new Date(ms + 5.5 * 3_600_000).toISOString().split("T");
      return `${date.slice(5).replace("-", "")} ${time.slice(0, 12)}`;
    });
    expect([...stamps, match?.[1] ?? line].sort()[1]).toBe(match?.[1] ?? "");
  });

  test("text of several lines is several lines, each with its header", () => {
    expect(
      logged('log.warn("one\\ntwo")')
        .trim()
        .split("\n")
        .map((line) => line.replace(/^(.).*flanneld\] /, "$1 ")),
    ).toEqual(["W one", "W two"]);
  });

  test("a line longer than a pipe takes at once arrives whole", () => {
    expect(logged('log.error("x".repeat(300_000)); process.exit(0)').length).toBeGreaterThan(300_000);
  });

  test("standard error that nobody reads any more stops nothing", () => {
    const program = `import { createLog } from "${import.meta.dir}/log.ts"; await Bun.sleep(100);
      for (let i = 0; i < 3; i++) createLog(1).info("x".repeat(100_000)); console.log("alive");`;
    const { stdout } = Bun.spawnSync(["sh", "-c", '("$0" -e "$1" 2>&1 >&3 | true) 3>&1', process.execPath, program]);
    expect(stdout.toString()).toBe("alive\n");
  });

  test("detail is written only up to the level asked for", () => {
    const lines: string[] = [];
    const log = createLog(1, (text) => lines.push(text));
    log.detail(1, "shown");
    log.detail(2, "not shown");
    expect(lines.map((line) => line.replace(/.*\] /, ""))).toEqual(["shown\n"]);
  });
});
