import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { formatStatus, type Status } from "../../config/status.ts";
import { daemonOf, daemonText } from "./daemon.ts";

let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "flannel-daemon-"));
});

afterEach(() => rmSync(root, { recursive: true, force: true }));

const since = "2026-01-02T03:04:05.000Z";
const status: Status = {
  version: "0.1.0",
  pid: 17,
  startTime: 4_711,
  phase: "lease",
  cause: "no subnet is free",
  since,
};

function process(pid: number, startTime: number, { state = "S", inside = pid } = {}): void {
  const directory = join(root, `proc/${pid}`);
  mkdirSync(directory, { recursive: true });
  const fields = [pid, "(a) b)", state, ...Array(18).fill(0), startTime, 0];
  writeFileSync(join(directory, "stat"), `${fields.join(" ")}\n`);
  writeFileSync(join(directory, "status"), `Name:\ta\nNSpid:\t${pid === inside ? pid : `${pid}\t${inside}`}\n`);
}

test.each<[string, () => void, "running" | "gone"]>([
  ["it runs", () => process(17, 4_711), "running"],
  ["there is no process", () => process(1, 1), "gone"],
  ["another process has its number", () => process(17, 9_999), "gone"],
  ["it has ended and nobody asked how", () => process(17, 4_711, { state: "Z" }), "gone"],
  ["it runs in a container, where its number is another", () => process(500, 4_711, { inside: 17 }), "running"],
  ["another process started at the same moment", () => process(500, 4_711), "gone"],
])("daemonOf: %s", (_, prepare, kind) => {
  writeFileSync(join(root, "status.json"), formatStatus(status));
  prepare();
  const daemon = daemonOf(join(root, "subnet.env"), join(root, "proc"));
  expect(daemon.kind).toBe(kind);
  const words = kind === "gone" ? "flanneld is not running" : "flanneld is waiting for a lease";
  expect(daemonText(daemon)).toStartWith(words);
  expect(daemonText(daemon)).toContain("waiting for a lease: no subnet is free");
});

test("daemonOf without status.json says where it looked", () => {
  expect(daemonText(daemonOf(join(root, "subnet.env")))).toContain(`no ${root}/status.json`);
});
