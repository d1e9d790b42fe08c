import { describe, expect, test } from "bun:test";
import { identify, isAlive, namespaceId, parseStat, processesIn, stop } from "./processes.ts";

describe("parseStat", () => {
  test("parseStat: a command's name may hold blanks and parentheses", () => {
    const text = "5842 (a) b (c) S 5841 5842 5842 0 -1 4194304 76 0 1 0 0 0 0 0 20 0 1 0 174617 2990080 421\n";
    expect(parseStat(text)).toEqual({ state: "S", startTime: 174617 });
  });

  test("parseStat: undefined for what is no stat line", () => {
    expect(parseStat("")).toBeUndefined();
  });
});

describe("processes", () => {
  test("isAlive: a pid with another start time is somebody else", async () => {
    const child = Bun.spawn(["sleep", "60"]);
    const id = identify(child.pid);
    if (!id) throw new Error("sleep is not running");
    expect(isAlive(id)).toBe(true);
    const stranger = { ...id, startTime: id.startTime - 1 };
    expect(isAlive(stranger)).toBe(false);
    await stop([stranger], 1000);
    expect(isAlive(id)).toBe(true);
    await stop([id], 1000);
    expect(isAlive(id)).toBe(false);
    await child.exited;
  });

  test("stop: ends by force what does not end when asked", async () => {
    const child = Bun.spawn(["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"], { stdout: "pipe" });
    await child.stdout.getReader().read();
    const id = identify(child.pid);
    if (!id) throw new Error("sh is not running");
    await stop([id], 100);
    expect(await child.exited).not.toBe(0);
    expect(child.signalCode).toBe("SIGKILL");
  });

  test("processesIn: finds processes of a namespace, this one left out", () => {
    const own = namespaceId("/proc/self/ns/net");
    expect(own).toBeDefined();
    const child = Bun.spawn(["sleep", "60"]);
    try {
      const pids = processesIn(new Set(own ? [own] : [])).map((one) => one.pid);
      expect(pids).toContain(child.pid);
      expect(pids).not.toContain(process.pid);
      expect(processesIn(new Set())).toEqual([]);
    } finally {
      child.kill("SIGKILL");
    }
  });
});
