// The guide for flannel below Kubernetes with an etcd of its own, from the tarball to pods of containerd that answer through a port of every node, with
// flanneld restarted under them.

import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { addNodePort } from "../cni/cluster.ts";
import { addressOf, ask, askFrom, type Container, Containerd } from "../cni/container.ts";
import { Machine } from "../cni/machine.ts";
import { Underlay } from "./nodes.ts";
import { PingStream } from "./traffic.ts";

const TEST_MS = 240_000;
const DIST = resolve(import.meta.dir, "../../dist");
const NODE_PORT = 30080;

/** As the network's configuration has it. */
const BACKENDS = ['"Type": "udp", "Port": 7890', '"Type": "vxlan", "Port": 7890'];

test.each(BACKENDS)(
  "the guide works with the backend %s",
  async (backend) => {
    await using underlay = await Underlay.open({ nodes: 4, families: ["ipv4"], config: undefined });
    const machines = await Promise.all([1, 2, 3].map((n) => Machine.open(underlay, underlay.node(n))));
    const outside = { node: underlay.node(4) };
    const tarball = readdirSync(DIST).find((name) => /^flannel-ts-.*\.tar\.gz$/.test(name));
    if (!tarball) throw new Error(`${DIST} has no tarball; make dist`);
    const environment = {
      ...Object.fromEntries(machines.map(({ pid }, i) => [`HOST_${i + 1}`, String(pid)])),
      TARBALL: join(DIST, tarball),
      START_UNIT: `${process.execPath} ${join(import.meta.dir, "start_unit.ts")}`,
    };
    const guide = async (...words: readonly string[]) => {
      const script = underlay.program(["bash", join(import.meta.dir, "cluster_guide.sh"), ...words], environment);
      const code = await script.exit(TEST_MS);
      if (code !== 0) console.log(script.output);
      expect(code).toBe(0);
      return script;
    };
    const up = await guide("up", backend);
    expect(up.lines(/Lease acquired: 10\.0\.\d+\.0\/24$/)).toHaveLength(3);
    expect(up.lines(/^FLANNEL_NETWORK=10\.0\.0\.0\/16$/)).toHaveLength(3);

    // kubelet's part: a pod on each node, and kube-proxy's: a port of each node that leads to all of them in turn.
    const pods: Container[] = [];
    for (const [i, machine] of machines.entries()) {
      pods.push(await (await Containerd.start(machine)).run(`pod-${i + 1}`));
    }
    for (const machine of machines) addNodePort(machine, NODE_PORT, pods);
    const names = pods.map(({ name }) => name);
    const works = () => {
      for (const from of pods) {
        for (const to of pods) expect(ask(from, addressOf(to))).toBe(`${to.name} ${addressOf(from)}`);
      }
      for (const { node } of machines) {
        const answers = Array.from({ length: 10 }, () => askFrom(outside, node.address.ipv4, NODE_PORT).split(" ")[0]);
        const first = names.indexOf(answers[0] ?? "");
        expect(answers).toEqual(answers.map((_, i) => names[(first + i) % names.length]));
      }
    };
    works();

    const [first, , last] = pods as [Container, Container, Container];
    const stream = await PingStream.start(machines[0]?.node ?? outside.node, addressOf(last));
    for (const n of ["1", "3"]) await guide("restart", n);
    const lost = await stream.stop();
    if (!backend.includes("udp")) expect(lost).toBe(0); // its packets go through flanneld
    works();
    await first.remove();
  },
  TEST_MS,
);
