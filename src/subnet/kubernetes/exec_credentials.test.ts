// With real programs: shell scripts that print what such plugins print.

import { afterAll, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ExecCredentials, type ExecPlugin } from "./exec_credentials.ts";

const directory = mkdtempSync(join(tmpdir(), "flannel-exec-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
const NEVER = new AbortController().signal;
const V1 = "client.authentication.k8s.io/v1";
let programs = 0;

function plugin(script: string, change: Partial<ExecPlugin> = {}): ExecPlugin {
  const command = join(directory, `program-${programs++}`);
  writeFileSync(command, `#!/bin/sh\necho run >> ${command}.runs\n${script}\n`);
  chmodSync(command, 0o755);
  return { apiVersion: V1, command, args: [], environment: {}, installHint: "", wantsCluster: false, ...change };
}

const runs = ({ command }: ExecPlugin) => readFileSync(`${command}.runs`, "utf8").trim().split("\n").length;
const credentials = (given: ExecPlugin) =>
  new ExecCredentials(
    given,
    () => ({}),
    () => ({ server: "https://192.0.2.1" }),
  );
const print = (status: object) =>
  `cat <<'END'\n${JSON.stringify({ kind: "ExecCredential", apiVersion: V1, status })}\nEND`;
const inSeconds = (seconds: number) => new Date(Date.now() + seconds * 1_000).toISOString();

test("a token is kept, for all who ask at once, until the server refuses it", async () => {
  const given = plugin(print({ token: "t" }));
  const source = credentials(given);
  const all = await Promise.all([1, 2, 3].map(() => source.current(NEVER)));
  expect(all).toEqual([{ token: "t" }, { token: "t" }, { token: "t" }]);
  await source.current(NEVER);
  expect(runs(given)).toBe(1);
  source.refused();
  await source.current(NEVER);
  expect(runs(given)).toBe(2);
});

test.each([
  ["is asked for again shortly before its end", 5, 2],
  ["is kept while it is good", 3_600, 1],
] as const)("a token %s", async (_title, seconds, wanted) => {
  const given = plugin(print({ token: "t", expirationTimestamp: inSeconds(seconds) }));
  const source = credentials(given);
  await source.current(NEVER);
  await source.current(NEVER);
  expect(runs(given)).toBe(wanted);
});

test("a certificate and its key, beside what the kubeconfig has", async () => {
  const given = plugin(print({ clientCertificateData: "C", clientKeyData: "K" }));
  const source = new ExecCredentials(
    given,
    () => ({ username: "u" }),
    () => ({}),
  );
  expect(await source.current(NEVER)).toEqual({ username: "u", certificate: "C", key: "K" });
});

test("arguments, variables, and what it is told of itself and the cluster", async () => {
  const script = `printf '{"status":{"token":"%s %s %s"}}' "$1" "$EXTRA" "$(printf %s "$KUBERNETES_EXEC_INFO" | base64 -w0)"`;
  const source = credentials(plugin(script, { args: ["one"], environment: { EXTRA: "two" }, wantsCluster: true }));
  const { token = "" } = await source.current(NEVER);
  const [one, two, info = ""] = token.split(" ");
  expect([one, two]).toEqual(["one", "two"]);
  expect(JSON.parse(atob(info))).toEqual({
    kind: "ExecCredential",
    apiVersion: V1,
    spec: { interactive: false, cluster: { server: "https://192.0.2.1" } },
  });
});

const failures: [string, string, Partial<ExecPlugin>, string][] = [
  ["exit code and words", "echo no login >&2; exit 3", {}, "exit 3: no login"],
  ["no JSON", "echo hello", {}, "it printed no JSON; want an ExecCredential"],
  ["no status", "echo {}", {}, "has no status"],
  ["no program", "", { command: "/nowhere/program", installHint: "install it" }, "ENOENT; install it"],
];
test.each(failures)("told: %s", async (_title, script, change, wanted) => {
  const given = plugin(script, change);
  const message = await credentials(given).current(NEVER).then(String, String);
  expect(message).toContain(`cannot get credentials from ${given.command}: `);
  expect(message).toContain(wanted);
});
