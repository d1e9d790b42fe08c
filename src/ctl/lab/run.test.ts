import { describe, expect, test } from "bun:test";
import { batchFault, run, TOOL_ENVIRONMENT } from "./run.ts";

describe("batchFault", () => {
  test.each([
    {
      name: "an answer of the kernel",
      stderr: "RTNETLINK answers: File exists\nCommand failed -:2\n",
      fault: "link add br0 type bridge: File exists",
    },
    {
      name: "a word that ip does not know",
      stderr: 'Error: argument "x" is wrong: "mtu"\n\nCommand failed -:1\n',
      fault: 'link set lo up: argument "x" is wrong: "mtu"',
    },
    {
      name: "a tool that cannot start",
      stderr: 'Cannot open network namespace "flab-x-sw": No such file or directory\n',
      fault: '-batch (2 lines): Cannot open network namespace "flab-x-sw": No such file or directory',
    },
    { name: "silence", stderr: "", fault: "-batch (2 lines): no reason given" },
  ])("batchFault: $name", ({ stderr, fault }) => {
    expect(batchFault(["link set lo up", "link add br0 type bridge"], stderr)).toBe(fault);
  });
});

describe("run", () => {
  test("run: gives back output and exit code, whatever it is", async () => {
    expect(await run(["sh", "-c", "cat; echo oops >&2; exit 3"], { stdin: "in" })).toEqual({
      code: 3,
      stdout: "in",
      stderr: "oops\n",
    });
  });

  test("run: throws the reason of an abort, and ends the child", async () => {
    const controller = new AbortController();
    const running = run(["sleep", "60"], { signal: controller.signal });
    controller.abort(new Error("enough"));
    expect(await running.catch((error: Error) => error.message)).toBe("enough");
  });

  test("run: children see no variable but ours, so none that changes how a compiled program starts", () => {
    expect(Object.keys(TOOL_ENVIRONMENT).sort()).toEqual(["LC_ALL", "PATH"]);
  });
});
