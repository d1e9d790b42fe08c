import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { defaultText, environmentName, type Flag, readFlagValue } from "./flag.ts";
import { flagHelp } from "./flag_help.ts";
import { flagReference } from "./flag_reference.ts";
import { FLAGS } from "./flag_table.ts";

const flags: readonly Flag[] = FLAGS;

/** Every flag of upstream's main.go: manifests and unit files in the field use them, so none may go. */
const UPSTREAM =
  `etcd-endpoints etcd-prefix etcd-keyfile etcd-certfile etcd-cafile etcd-username etcd-password iface iface-regex iface-can-reach
  subnet-file public-ip public-ipv6 subnet-lease-renew-margin ip-masq ip-masq-fully-random-disable kube-subnet-mgr kube-api-url kubeconfig-file
  kube-annotation-prefix version healthz-ip healthz-port iptables-resync iptables-forward-rules ip-blackhole-route net-config-path
  set-node-network-unavailable v vmodule log_backtrace_at`.split(/\s+/);

test("the table has every flag of upstream, and besides only this project's own", () => {
  const names = flags.map((flag) => flag.name);
  expect(names.filter((name) => !UPSTREAM.includes(name))).toEqual([
    "store-file",
    "store-loss-grace",
    "lease-ttl",
    "etcd-discovery-srv",
    "etcd-api",
  ]);
  expect(UPSTREAM.filter((name) => !names.includes(name))).toEqual([]);
  expect(new Set(names).size).toBe(names.length);
});

describe.each(flags.map((flag) => [flag.name, flag] as const))("--%s", (_, flag) => {
  test("has a default that it would take", () => {
    if (flag.kind !== "repeated") expect(readFlagValue(flag, defaultText(flag))).toHaveProperty("value");
  });

  test("has a variable that a shell can set, and a text without a full stop", () => {
    expect(environmentName(flag)).toMatch(/^FLANNELD_[A-Z][A-Z0-9_]*$/);
    expect(flag.help).not.toEndWith(".");
    if (flag.kind !== "boolean" && flag.kind !== "choice") expect(flag.value).toBeDefined();
  });
});

test("--help names every flag but hidden ones, no line wider than 100 columns", () => {
  const help = flagHelp();
  for (const flag of flags) {
    expect([flag.name, new RegExp(`^  --${flag.name}\\b`, "m").test(help)]).toEqual([flag.name, !flag.hidden]);
  }
  expect(help.split("\n").filter((line) => line.length > 100)).toEqual([]);
});

test("docs/flags.md is what the table says (else: bun src/config/flag_reference.ts > docs/flags.md)", () => {
  const written = readFileSync(new URL("../../docs/flags.md", import.meta.url), "utf8");
  expect(written).toBe(flagReference());
});
