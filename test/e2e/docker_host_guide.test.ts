// The Docker-host guide, word for word, from the tarball to pings between containers, in both generations of etcd's API.

import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { run } from "../kernel/linux_world.ts";
import { DockerHost } from "./docker_host.ts";
import { Underlay } from "./nodes.ts";

const TEST_MS = 180_000;
const DIST = resolve(import.meta.dir, "../../dist");

test.each([
  ["2", "cfssl"],
  ["3", "flannelctl"],
])(
  "the guide works with etcd v%s and certificates of %s",
  async (api, certs) => {
    await using underlay = await Underlay.open({ nodes: 3, families: ["ipv4"], config: undefined });
    const hosts = await Promise.all(underlay.nodes.map((node) => DockerHost.open(node)));
    const tarball = readdirSync(DIST).find((name) => /^flannel-ts-.*\.tar\.gz$/.test(name));
    if (!tarball) throw new Error(`${DIST} has no tarball; make dist`);
    const environment = {
      ...Object.fromEntries(hosts.map(({ holder }, i) => [`HOST_${i + 1}`, String(holder.pid)])),
      TARBALL: join(DIST, tarball),
      START_UNIT: `${process.execPath} ${join(import.meta.dir, "start_unit.ts")}`,
    };
    try {
      const guide = underlay.program(["bash", join(import.meta.dir, "docker_host_guide.sh"), api, certs], environment);
      const code = await guide.exit(TEST_MS);
      if (code !== 0) console.log(guide.output);
      expect(code).toBe(0);
      expect(guide.lines(/answers$/)).toHaveLength(18);
      expect(guide.lines(/answers our container/)).toHaveLength(9);
      expect(guide.lines(/Lease acquired: 172\.30\.\d+\.0\/24$/)).toHaveLength(3);
    } finally {
      // What the guide started runs in the hosts' namespaces, and nothing else does.
      for (const { namespace } of underlay.nodes) run(`ip netns pids ${namespace.name} | xargs -r kill -9`);
    }
  },
  TEST_MS,
);
