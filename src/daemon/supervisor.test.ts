import { expect, test } from "bun:test";
import type { Status } from "../config/status.ts";
import { supervisor } from "./supervisor.ts";

const STATUS: Status = { version: "1", pid: 1, startTime: 1, phase: "config", since: "2026-01-01T00:00:00.000Z" };

test("supervisor tells what the daemon waits for, that it is ready once, and that it stops", () => {
  const states: string[] = [];
  const tell = supervisor(
    () => {},
    (state) => states.push(state),
  );
  tell({ ...STATUS, cause: "etcd is away" });
  tell({ ...STATUS, cause: "etcd is away" });
  tell({ ...STATUS, phase: "ready" });
  tell({ ...STATUS, phase: "programming" });
  tell({ ...STATUS, phase: "ready" });
  tell({ ...STATUS, phase: "stopping" });
  expect(states.map((state) => state.replace(/STATUS=.*/, "STATUS"))).toEqual([
    "STATUS",
    "READY=1\nSTATUS",
    "STATUS",
    "STATUS",
    "STOPPING=1\nSTATUS",
  ]);
  expect(states[0]).toContain("etcd is away");
});

test("supervisor reports a row of failures once, and tells again what was not heard", () => {
  const errors: unknown[] = [];
  const states: string[] = [];
  let reachable = false;
  const tell = supervisor(
    (error) => errors.push(error),
    (state) => {
      if (!reachable) throw new Error("gone");
      states.push(state);
    },
  );
  tell({ ...STATUS, phase: "ready" });
  tell({ ...STATUS, phase: "ready" });
  expect(errors).toHaveLength(1);
  reachable = true;
  tell({ ...STATUS, phase: "ready" });
  expect(states).toHaveLength(1);
  expect(states[0]).toStartWith("READY=1\nSTATUS=");
});
