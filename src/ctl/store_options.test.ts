import { describe, expect, test } from "bun:test";
import { Command } from "commander";
import { ConfigError } from "../config/fault.ts";
import { addStoreOptions, configKey, storeChoiceOf } from "./store_options.ts";

const CERTIFICATE = { etcdCertfile: "c.pem", etcdKeyfile: "k.pem" };

describe("storeChoiceOf", () => {
  test.each([
    [{ kubeSubnetMgr: true }, {}],
    [{}, { FLANNELD_KUBE_SUBNET_MGR: "true" }],
  ])("Kubernetes is answered with where its leases are: %j %j", (flags, environment) => {
    expect(() => storeChoiceOf(flags, environment)).toThrow(/--kube-subnet-mgr: .*kubectl get nodes -o yaml/);
  });

  test("without anything it is flanneld's default, etcd on this machine", () => {
    const choice = storeChoiceOf({}, {});
    expect(choice).toMatchObject({ kind: "etcd", api: "auto", etcd: { prefix: "/coreos.com/network", username: "" } });
    expect(choice.kind === "etcd" && choice.etcd.endpoints).toEqual(["http://127.0.0.1:4001", "http://127.0.0.1:2379"]);
    expect(configKey(choice)).toBe("/coreos.com/network/config");
  });

  test.each([
    ["an option", { etcdPrefix: "/a" }, {}, "", "/a"],
    ["a variable", {}, { FLANNELD_ETCD_PREFIX: "/b" }, "", "/b"],
    ["an option before a variable", { etcdPrefix: "/a" }, { FLANNELD_ETCD_PREFIX: "/b" }, "", "/a"],
    ["one with the prefix before one without", { etcdPrefix: "/a", fromEtcdPrefix: "/c" }, {}, "from-", "/c"],
    ["one without where there is none with it", { etcdPrefix: "/a" }, {}, "from-", "/a"],
    ["a variable where there is no option at all", {}, { FLANNELD_ETCD_PREFIX: "/b" }, "from-", "/b"],
    [
      "none of other flags' variables, right or wrong",
      { etcdPrefix: "/a" },
      { FLANNELD_HEALTHZ_PORT: "wat" },
      "",
      "/a",
    ],
  ])("takes %s", (_, flags, environment, prefix, expected) => {
    const choice = storeChoiceOf(flags, environment, prefix);
    expect(choice.kind === "etcd" && choice.etcd.prefix).toBe(expected);
  });

  test("a file goes before etcd", () => {
    expect(storeChoiceOf({ storeFile: "a.db", etcdApi: "3" }, {})).toEqual({ kind: "embedded", path: "a.db" });
  });

  test("certificate, user and generation come through", () => {
    const flags = { ...CERTIFICATE, etcdUsername: "u", etcdApi: "2" };
    expect(storeChoiceOf(flags, { FLANNELD_ETCD_PASSWORD: "p" })).toMatchObject({
      api: "2",
      etcd: { tls: { certFile: "c.pem", keyFile: "k.pem", caFile: "" }, username: "u", password: "p" },
    });
  });

  test("all that is wrong is named, a password never", () => {
    try {
      storeChoiceOf({ etcdEndpoints: "wat://x", etcdCertfile: "c.pem", etcdPassword: "hush" }, {});
      throw new Error("nothing thrown");
    } catch (error) {
      expect(error).toBeInstanceOf(ConfigError);
      expect(String(error)).toMatch(/--etcd-endpoints.*--etcd-keyfile.*--etcd-username/s);
      expect(String(error)).not.toContain("hush");
    }
  });
});

test("addStoreOptions: help has flanneld's text, default and variable; a second set points to the first", () => {
  const command = new Command("x");
  addStoreOptions(command, { without: ["etcd-api"] });
  addStoreOptions(command, { prefix: "from-", without: ["etcd-api"] });
  const help = command.helpInformation().replaceAll(/\s+/g, " ");
  expect(help).toContain("(default /coreos.com/network; FLANNELD_ETCD_PREFIX)");
  expect(help).toContain("--from-etcd-prefix <KEY> in place of --etcd-prefix");
  expect(help).not.toContain("etcd-api");
});
