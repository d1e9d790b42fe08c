// flannel with what it has built in: the same as with the programs, and without them. Killed at any step it leaves nothing that DEL or GC cannot find.

import { afterEach, beforeEach, expect, test } from "bun:test";
import { chmodSync, existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { VERSIONS } from "../../src/cni/version.ts";
import { Host, type Json } from "./runtime.ts";

let host: Host;
let flannel: string;

beforeEach(() => {
  host = new Host();
  flannel = join(host.ours, "flannel");
  host.write(
    "subnet.env",
    "FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n",
  );
});

afterEach(() => host[Symbol.dispose]());

function conf(more: Record<string, unknown> = {}): Record<string, Json> {
  return {
    cniVersion: "1.1.0",
    name: "cbr0",
    type: "flannel",
    subnetFile: host.path("subnet.env"),
    dataDir: host.path("state"),
    ipam: { dataDir: host.path("ipam") },
    ...more,
  };
}

/** No plugin is installed. */
const bare = () => ({ path: [host.plugins] });

function names(directory: string): string[] {
  return existsSync(host.path(directory)) ? readdirSync(host.path(directory)) : [];
}

/** State, addresses, and ports of the bridge. */
function leftovers(): { states: string[]; addresses: string[]; ports: string } {
  return {
    states: names("state"),
    addresses: names("ipam/cbr0").filter((name) => !/^(lock|last_reserved_ip\.0)$/.test(name)),
    ports: host.namespace.run("ip -o link show type veth"),
  };
}

const NOTHING = { states: [], addresses: [], ports: "" };

function normalised(text: string): string {
  return text
    .replaceAll(/[0-9a-f]{2}(:[0-9a-f]{2}){5}/g, "MAC")
    .replaceAll(/veth[0-9a-f]{8}/g, "veth")
    .replaceAll(/flannel-test-\d+-\d+/g, "netns");
}

test.each(VERSIONS)(
  "in CNI %s: ADD, CHECK and DEL without any program, and the result of the programs",
  (cniVersion) => {
    const pod = host.pod();
    const own = conf({ cniVersion, delegate: { isDefaultGateway: true } });
    const result = pod.add(flannel, own, bare());
    if (cniVersion >= "0.4.0") {
      expect(pod.call("CHECK", flannel, { ...own, prevResult: result }, bare())).toMatchObject({
        exitCode: 0,
        stdout: "",
      });
      // Also by the program, of what the built-in one made.
      const check = pod.call("CHECK", flannel, { ...own, builtin: false, prevResult: result });
      expect([check.exitCode, check.stdout]).toEqual([0, ""]);
    }
    pod.del(flannel, own, bare());
    expect(leftovers()).toEqual(NOTHING);

    const other = host.pod().call("ADD", flannel, { ...own, builtin: false });
    const same = (json: Json) => JSON.parse(normalised(JSON.stringify(json)).replace("10.5.1.3", "10.5.1.2"));
    // The program's newest version has no MTU.
    const withoutMtu = { ...result, interfaces: result.interfaces?.map(({ mtu: _, ...one }: Json) => one) };
    expect(same(withoutMtu)).toEqual(same(other.json));
  },
);

test("what one made, the other frees", () => {
  const [first, second] = [host.pod(), host.pod()];
  first.add(flannel, conf(), bare());
  first.del(flannel, conf({ builtin: false }));
  second.add(flannel, conf({ builtin: false }));
  second.del(flannel, conf(), bare());
  expect(leftovers()).toEqual(NOTHING);
});

test("STATUS is well without any program", () => {
  expect(host.call("STATUS", flannel, conf(), bare())).toMatchObject({ exitCode: 0, stdout: "", stderr: "" });
});

test("a delegate with a key that the built-in one does not know is the program", () => {
  const program = join(host.plugins, "bridge");
  writeFileSync(program, `#!/bin/sh\ncat > ${host.path("asked")}\necho '{"cniVersion":"1.1.0","ips":[]}'\n`);
  chmodSync(program, 0o755);
  host.pod().add(flannel, conf(), bare());
  expect(existsSync(host.path("asked"))).toBe(false);
  host.pod().add(flannel, conf({ delegate: { somethingNew: 1 } }), bare());
  expect(existsSync(host.path("asked"))).toBe(true);
});

/** What changes anything outside of the process: each time it is killed before one of them. */
const CHANGES = ["mkdir", "rename", "fsync", "write", "link", "unlink", "sendto", "exit_group"];

/** Kills `flannel` before the first, second … of each change; `clean` has to leave nothing. */
function killAtEveryStep(verb: "ADD" | "DEL", clean: (pod: ReturnType<Host["pod"]>) => void): number {
  let kills = 0;
  for (const change of CHANGES) {
    for (let count = 1, killed = true; killed; count++) {
      using pod = host.pod();
      if (verb === "DEL") pod.add(flannel, conf());
      const inject = `inject=${change}:signal=KILL:when=${count}`;
      const under = ["strace", "-q", "-o", "/dev/null", "-e", `trace=${change}`, "-e", inject];
      killed = pod.call(verb, flannel, conf(), { under }).exitCode !== 0;
      if (killed) kills++;
      clean(pod);
      expect([change, count, leftovers()]).toEqual([change, count, NOTHING]);
    }
  }
  return kills;
}

test.each(["ADD", "DEL"] as const)(
  "kill -9 at every step of %s: DEL leaves nothing",
  (verb) => {
    expect(killAtEveryStep(verb, (pod) => pod.del(flannel, conf()))).toBeGreaterThan(5);
  },
  120_000,
);

test.each(["ADD", "DEL"] as const)(
  "kill -9 at every step of %s: GC leaves nothing once the container is gone",
  (verb) => {
    const clean = (pod: ReturnType<Host["pod"]>) => {
      pod[Symbol.dispose]();
      // The kernel takes the namespace's links away when it comes to it.
      host.namespace.run('for n in $(seq 200); do [ -z "$(ip -o link show type veth)" ] && break; sleep 0.02; done');
      const answer = host.call("GC", flannel, conf({ "cni.dev/valid-attachments": [] }));
      expect([answer.exitCode, answer.stdout]).toEqual([0, ""]);
    };
    expect(killAtEveryStep(verb, clean)).toBeGreaterThan(5);
  },
  120_000,
);
