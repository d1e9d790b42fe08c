// The pods of the DaemonSet as real containers with nothing but what its description gives them: the init containers install and take away, flanneld makes the network of
// its node and answers the probes. EXECUTABLE dist/flanneld, or FLANNELD.

import { afterAll, afterEach, beforeAll, expect, test } from "bun:test";
import { chownSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { daemonSet } from "../../src/ctl/install/daemon_set.ts";
import type { Container, DaemonSet, Installed } from "../../src/ctl/install/kinds.ts";
import { netConf } from "../../src/ctl/install/net_conf.ts";
import { objectsOf } from "../../src/ctl/install/objects.ts";
import { type Values, valuesOf } from "../../src/ctl/install/values.ts";
import { DUAL_STACK, type Node, Underlay } from "../e2e/nodes.ts";
import { type Program, until } from "../e2e/program.ts";
import { Image, placesOf, type ServiceAccount } from "./image.ts";

let image: Image;
let underlay: Underlay;
beforeAll(() => {
  image = new Image();
}, 600_000);
afterAll(() => image[Symbol.dispose]());
afterEach(async () => await underlay[Symbol.asyncDispose]());

/** A node with a pod's description of these values; the network's store is a file that all nodes reach. */
class Pod {
  readonly node: Node;
  readonly set: DaemonSet;
  readonly #places: Record<string, string>;

  constructor(node: Node, given: Readonly<Record<string, unknown>> = {}, without: readonly string[] = []) {
    const values: Values = valuesOf(given);
    this.node = node;
    this.set = daemonSet(values, "kube-flannel");
    const files = { "cni-conf.json": values.flannel.cniConf, "net-conf.json": netConf(values) };
    this.#places = placesOf(underlay, node, this.set, files);
    for (const { volumeMounts } of this.#spec.containers) {
      for (const name of without) {
        const index = volumeMounts?.findIndex((mount) => mount.name === name) ?? -1;
        if (index < 0) throw new Error(`There is no mount ${name}`);
        volumeMounts?.splice(index, 1);
      }
    }
  }

  get #spec() {
    const spec = this.set.spec?.template.spec;
    if (!spec) throw new Error("The DaemonSet has no pod");
    return spec;
  }

  place(hostPath: string, ...names: readonly string[]): string {
    return join(this.#places[hostPath] ?? "", ...names);
  }

  /** Runs the init containers, and returns what they said. */
  async initialised(): Promise<string> {
    let said = "";
    for (const container of this.#spec.initContainers ?? []) {
      const { code, output } = await image.finished(this.node, container, this.set, this.#places);
      said += output;
      if (code !== 0) throw new Error(`${container.name} ended with ${code}: ${output}`);
    }
    return said;
  }

  start(account?: ServiceAccount): Program {
    const [container] = this.#spec.containers as [Container, ...Container[]];
    return image.start(this.node, container, this.set, this.#places, account);
  }

  probe(path: string): string {
    return this.node.run(`curl -s --max-time 3 http://127.0.0.1:8081${path} || true`);
  }

  async ready(program: Program): Promise<void> {
    await until("the pod is ready", () => this.probe("/readyz") === "flanneld is ready", program, 60_000);
  }
}

/** The values of a pod whose store is the file of all nodes. */
function withFile() {
  const store = dirname(underlay.storeFile);
  const extraVolumes = [{ name: "store", hostPath: { path: store } }];
  const extraVolumeMounts = [{ name: "store", mountPath: store }];
  return { flannel: { args: ["--ip-masq", `--store-file=${underlay.storeFile}`], extraVolumes, extraVolumeMounts } };
}

test("the init containers install plugins and configuration, into directories of another owner too, and take them away", async () => {
  underlay = await Underlay.open({ nodes: 1, only: "embedded" });
  const pod = new Pod(underlay.node(1));
  const [bin, conf] = [pod.place("/opt/cni/bin"), pod.place("/etc/cni/net.d")];
  chownSync(bin, 1001, 1001);
  chownSync(conf, 1001, 1001);
  const list = join(conf, "10-flannel.conflist");
  await pod.initialised();
  expect(readdirSync(bin).sort()).toEqual(["bridge", "flannel", "host-local", "loopback", "portmap"]);
  const versions = ["0.3.1", "0.4.0", "1.0.0", "1.1.0"];
  expect(JSON.parse(readFileSync(list, "utf8"))).toMatchObject({ cniVersion: "0.3.1", cniVersions: versions });
  expect(statSync(list).mode & 0o777).toBe(0o644);
  expect(readdirSync(conf)).toEqual(["10-flannel.conflist"]);
  const asked = Bun.spawnSync([join(bin, "flannel")], {
    env: { CNI_COMMAND: "VERSION" },
    stdin: Buffer.from('{"cniVersion":"1.0.0"}'),
  });
  expect(JSON.parse(asked.stdout.toString()).supportedVersions).toContain("1.1.0");
  expect(await pod.initialised()).not.toMatch(/installed|replaced/);

  const leaving = new Pod(underlay.node(1), { flannel: { uninstall: true } });
  await leaving.initialised();
  expect([...readdirSync(bin), ...readdirSync(conf)]).toEqual([]);
  const idle = leaving.start();
  await until("it idles", () => image.running.includes("infinity"), idle, 60_000);
}, 120_000);

test("the list names only versions that the node's own plugins have", async () => {
  underlay = await Underlay.open({ nodes: 1, only: "embedded" });
  const pod = new Pod(underlay.node(1));
  const old = `#!/bin/sh\ncat >/dev/null\necho '{"cniVersion":"1.0.0","supportedVersions":["0.3.1","0.4.0","1.0.0"]}'\n`;
  writeFileSync(pod.place("/opt/cni/bin", "portmap"), old, { mode: 0o755 });
  expect(await pod.initialised()).toContain("kept /opt/cni/bin/portmap: another's plugin");
  const list = pod.place("/etc/cni/net.d", "10-flannel.conflist");
  expect(JSON.parse(readFileSync(list, "utf8")).cniVersions).toEqual(["0.3.1", "0.4.0", "1.0.0"]);
  await new Pod(underlay.node(1), { flannel: { uninstall: true } }).initialised();
  expect(readdirSync(pod.place("/etc/cni/net.d"))).toEqual([]);
  expect(readdirSync(pod.place("/opt/cni/bin"))).toEqual(["portmap"]);
}, 120_000);

test("flanneld makes the network of its node from inside a container, answers the probes, and starts again without a gap", async () => {
  underlay = await Underlay.open({ nodes: 2, config: DUAL_STACK, only: "embedded" });
  const peer = underlay.node(2);
  const other = peer.flanneld();
  const pod = new Pod(underlay.node(1), withFile());
  let program = pod.start();
  await until("it is alive", () => pod.probe("/healthz") === "flanneld is running", program, 60_000);
  await pod.ready(program);
  await other.peers(1);
  for (const family of ["ipv4", "ipv6"] as const) expect(await peer.ping(pod.node.overlay(family))).toBe(3);
  expect(pod.node.run("cat /proc/sys/net/ipv6/conf/flannel-v6.1/accept_ra")).toBe("0\n");
  expect(pod.node.run("iptables-save -t nat; ip6tables-save -t nat")).toContain("MASQUERADE");
  expect(program.lines(/^[WEF]\d/)).toEqual([]);

  const before = pod.node.objects();
  await program.stop();
  expect(pod.node.objects()).toEqual(before);
  expect(await peer.ping(pod.node.overlay())).toBe(3);
  program = pod.start();
  await pod.ready(program);
  expect(pod.node.objects()).toEqual(before);
}, 180_000);

test("with the chart's own flags a pod is a node of the cluster, by its service account and its ConfigMap", async () => {
  underlay = await Underlay.open({ nodes: 2, config: DUAL_STACK, kubernetes: {} });
  const { kube } = underlay;
  const peer = underlay.node(2);
  const other = peer.flanneld();
  const pod = new Pod(underlay.node(1), { podCidr: DUAL_STACK.Network, podCidrv6: DUAL_STACK.IPv6Network });
  kube.assign(1);
  const directory = join(pod.node.directory, "account");
  mkdirSync(directory);
  writeFileSync(join(directory, "token"), "flannel-token");
  writeFileSync(join(directory, "ca.crt"), readFileSync(kube.cluster.certificates.file("ca")));
  const { hostname: host, port } = new URL(kube.cluster.url);
  const program = pod.start({ host, port, directory });
  await pod.ready(program);
  await other.peers(1);
  for (const family of ["ipv4", "ipv6"] as const) expect(await peer.ping(pod.node.overlay(family))).toBe(3);
  expect(await kube.cluster.condition("node1")).toMatchObject({ status: "False", reason: "FlannelIsUp" });
  expect(program.lines(/^[WEF]\d/)).toEqual([]);
  // No more is asked for than the ClusterRole grants.
  const rights = rulesOf(objectsOf(valuesOf(), "kube-flannel"));
  const asked = (await kube.cluster.asked()).filter(({ user }) => user === "flannel");
  const used = new Set(
    asked.map(({ verb, path }) => `${verb} ${/nodes\/[^/?]+\/status/.test(path) ? "nodes/status" : "nodes"}`),
  );
  expect([...used].filter((right) => !rights.includes(right))).toEqual([]);
  expect(rights.filter((right) => !used.has(right))).toEqual([]);
}, 180_000);

/** "patch nodes/status" of the ClusterRole. */
function rulesOf(objects: readonly Installed[]): string[] {
  return objects.flatMap((object) =>
    object.kind === "ClusterRole"
      ? (object.rules ?? []).flatMap(({ verbs, resources = [] }) =>
          verbs.flatMap((verb) => resources.map((resource) => `${verb} ${resource}`)),
        )
      : [],
  );
}

test("without the host's /proc/sys/net it says what it does without, and goes on", async () => {
  underlay = await Underlay.open({ nodes: 1, config: DUAL_STACK, only: "embedded" });
  const pod = new Pod(underlay.node(1), withFile(), ["sysctl-net"]);
  const program = pod.start();
  await pod.ready(program);
  expect(program.lines(/^[WEF]\d/).map((line) => line.replace(/^.*\] /, ""))).toEqual([
    "cannot set sysctl net/ipv6/conf/flannel-v6.1/accept_ra=0: EROFS (Read-only file system); done without; mount the host's /proc/sys/net at /host/proc/sys/net",
  ]);
}, 120_000);

test("on a node whose rules are those of iptables-legacy, so are flanneld's", async () => {
  underlay = await Underlay.open({ nodes: 1, only: "embedded" });
  const pod = new Pod(underlay.node(1), withFile());
  pod.node.run("iptables-legacy -t nat -A POSTROUTING -s 198.51.100.1 -j RETURN");
  const program = pod.start();
  await pod.ready(program);
  expect(program.output).toContain("iptables: legacy, as this node has it");
  expect(pod.node.run("iptables-legacy-save -t nat")).toContain("MASQUERADE");
  expect(pod.node.run("iptables-nft-save -t nat 2>/dev/null")).not.toContain("MASQUERADE");
}, 120_000);
