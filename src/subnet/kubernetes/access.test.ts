import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { podAccess, proxyFor, urlAccess } from "./access.ts";

const directory = mkdtempSync(join(tmpdir(), "flannel-access-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
const NEVER = new AbortController().signal;

const P = "http://proxy.example:3128";
const proxies: [string, Record<string, string>, string | undefined][] = [
  ["https://10.96.0.1:443", {}, undefined],
  ["https://10.96.0.1:443", { HTTPS_PROXY: P }, P],
  ["https://10.96.0.1:443", { https_proxy: P }, P],
  ["https://10.96.0.1:443", { HTTPS_PROXY: "proxy.example:3128" }, P],
  ["https://10.96.0.1:443", { HTTP_PROXY: P }, undefined],
  ["http://10.96.0.1:8080", { HTTP_PROXY: P }, P],
  ["https://10.96.0.1:443", { HTTPS_PROXY: P, NO_PROXY: "10.96.0.0/12" }, undefined],
  ["https://10.96.0.1:443", { HTTPS_PROXY: P, NO_PROXY: "10.96.0.7/12" }, undefined],
  ["https://10.112.0.1:443", { HTTPS_PROXY: P, NO_PROXY: "10.96.0.0/12" }, P],
  ["https://[fd00::1]:443", { HTTPS_PROXY: P, NO_PROXY: "fd00::/8" }, undefined],
  ["https://[fd00::1]:443", { HTTPS_PROXY: P, NO_PROXY: "fd00::1" }, undefined],
  ["https://[fd00::1]:443", { HTTPS_PROXY: P, NO_PROXY: "10.0.0.0/8" }, P],
  ["https://10.96.0.1:443", { HTTPS_PROXY: P, NO_PROXY: "other, 10.96.0.1" }, undefined],
  ["https://10.96.0.1:6443", { HTTPS_PROXY: P, NO_PROXY: "10.96.0.1:443" }, P],
  ["https://10.96.0.1", { HTTPS_PROXY: P, NO_PROXY: "10.96.0.1:443" }, undefined],
  ["https://api.example.com", { HTTPS_PROXY: P, no_proxy: "example.com" }, undefined],
  ["https://api.example.com", { HTTPS_PROXY: P, NO_PROXY: ".example.com" }, undefined],
  ["https://example.com", { HTTPS_PROXY: P, NO_PROXY: ".example.com" }, P],
  ["https://anexample.com", { HTTPS_PROXY: P, NO_PROXY: "example.com" }, P],
  ["https://api.example.com", { HTTPS_PROXY: P, NO_PROXY: "*" }, undefined],
  ["https://127.0.0.1:6443", { HTTPS_PROXY: P }, undefined],
  ["https://localhost:6443", { HTTPS_PROXY: P }, undefined],
  ["https://[::1]:6443", { HTTPS_PROXY: P }, undefined],
];
test.each(proxies)("proxyFor: %s with %j → %s", (server, environment, wanted) => {
  expect(proxyFor(server, environment)).toBe(wanted);
});

test("podAccess: the token is read again when its file changes, and the authority for each connection", async () => {
  const pod = { KUBERNETES_SERVICE_HOST: "10.96.0.1", KUBERNETES_SERVICE_PORT: "443" };
  writeFileSync(join(directory, "token"), "first\n");
  writeFileSync(join(directory, "ca.crt"), "one");
  const access = podAccess(pod, directory);
  expect(access).toMatchObject({ server: "https://10.96.0.1:443", proxy: undefined });
  expect(await access?.credentials.current(NEVER)).toEqual({ token: "first" });
  expect(access?.tls.ca?.()).toBe("one");
  writeFileSync(join(directory, "token"), "second!");
  writeFileSync(join(directory, "ca.crt"), "two");
  expect(await access?.credentials.current(NEVER)).toEqual({ token: "second!" });
  expect(access?.tls.ca?.()).toBe("two");
});

test("podAccess: IPv6, and none outside of a pod", () => {
  const pod = { KUBERNETES_SERVICE_HOST: "fd00:10:96::1", KUBERNETES_SERVICE_PORT: "443" };
  expect(podAccess(pod)?.server).toBe("https://[fd00:10:96::1]:443");
  expect(podAccess({})).toBeUndefined();
});

test("podAccess: a missing token is named", async () => {
  const pod = { KUBERNETES_SERVICE_HOST: "10.96.0.1", KUBERNETES_SERVICE_PORT: "443" };
  const access = podAccess(pod, "/nowhere");
  expect(access?.credentials.current(NEVER)).rejects.toThrow("cannot read /nowhere/token: ENOENT (no such file)");
});

test("urlAccess: nobody in particular; rubbish is refused", async () => {
  const access = urlAccess("https://10.0.0.1:6443/", {});
  expect(access.server).toBe("https://10.0.0.1:6443");
  expect(await access.credentials.current(NEVER)).toEqual({});
  expect(() => urlAccess("10.0.0.1:6443", {})).toThrow('cannot use --kube-api-url: got "10.0.0.1:6443"');
});
