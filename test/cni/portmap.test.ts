// The built-in portmap by itself: real packets through published ports, what is left behind, errors. That its rules are the reference plugin's is what
// portmap_reference.test.ts says.

import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { Namespace } from "../kernel/linux_world.ts";
import { confOf, FLAVOURS, Iptables, NETWORK, resultOf } from "./portmap_world.ts";
import { Host, type Json, type Pod } from "./runtime.ts";

const TCP = { hostPort: 8080, containerPort: 80, protocol: "tcp" };
const RESULT = resultOf("10.5.1.7/24", "fd00:5:1::7/64");

const plugin = (host: Host) => join(host.ours, "portmap");

/** Chains of containers, of both families. */
const containerChains = (iptables: Iptables) => iptables.save().match(/^:CNI-DN-\S+/gm) ?? [];

/** A pod on the node's bridge cni0, and a client beyond the node. */
class Node implements Disposable {
  readonly host = new Host();
  readonly pod: Pod;
  readonly client = new Namespace();

  constructor() {
    this.pod = this.host.pod();
    try {
      this.#connect();
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  #connect(): void {
    const { host, pod, client } = this;
    host.namespace.run(`
      sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv6.conf.default.accept_dad=0
      ip link add cni0 type bridge
      ip address add 10.5.1.1/24 dev cni0
      ip address add fd00:5:1::1/64 dev cni0 nodad
      ip link set cni0 up
      ip link add veth0 type veth peer name eth0 netns ${pod.namespace.name}
      ip link set veth0 master cni0
      ip link set veth0 type bridge_slave hairpin on
      ip link set veth0 up
      ip link add ext0 type veth peer name eth0 netns ${client.name}
      ip address add 192.0.2.1/24 dev ext0
      ip address add 2001:db8::1/64 dev ext0 nodad
      ip link set ext0 up`);
    pod.run(`
      ip link set lo up
      ip address add 10.5.1.7/24 dev eth0
      ip address add fd00:5:1::7/64 dev eth0 nodad
      ip link set eth0 up
      ip route add default via 10.5.1.1
      ip -6 route add default via fd00:5:1::1`);
    client.run(`
      ip link set lo up
      ip address add 192.0.2.2/24 dev eth0
      ip address add 2001:db8::2/64 dev eth0 nodad
      ip link set eth0 up`);
  }

  [Symbol.dispose](): void {
    this.client[Symbol.dispose]();
    this.host[Symbol.dispose]();
  }
}

/** Answers every connection or datagram with the address that it came from; the name of a file tells when it listens. */
const ECHO = `
  const { writeFileSync } = require("node:fs");
  const [kind, port, ready] = process.argv.slice(1);
  const plain = (address) => address.replace(/^::ffff:/, "");
  if (kind === "tcp") require("node:net").createServer((s) => s.end(plain(s.remoteAddress))).listen(port, "::", () => writeFileSync(ready, ""));
  else {
    const socket = require("node:dgram").createSocket(kind);
    socket.on("message", (_, from) => socket.send(plain(from.address), from.port, from.address));
    socket.bind(port, () => writeFileSync(ready, ""));
  }`;

/** One question; prints the answer, or "none" after a while. */
const ASK = `
  const [kind, address, port, from] = process.argv.slice(1);
  const give = (text) => { console.log(text); process.exit(); };
  setTimeout(() => give("none"), 700);
  if (kind === "tcp") require("node:net").connect(port, address).on("data", (d) => give(String(d))).on("error", () => give("refused"));
  else {
    const socket = require("node:dgram").createSocket(kind);
    socket.on("message", (text) => give(String(text)));
    socket.on("error", () => {});
    socket.bind(from === undefined ? undefined : Number(from), () => socket.connect(port, address, () => socket.send("?")));
  }`;

async function listening(node: Node, kind: string, port: number): Promise<Disposable> {
  const ready = node.host.path(`ready-${kind}-${port}`);
  const command = [
    "nsenter",
    `--net=${node.pod.namespace.path}`,
    process.execPath,
    "-e",
    ECHO,
    "--",
    kind,
    `${port}`,
    ready,
  ];
  const child = Bun.spawn(command, { stdio: ["ignore", "inherit", "inherit"] });
  while (!(await Bun.file(ready).exists())) {
    if (child.exitCode !== null) throw new Error(`echo ${kind}: exit ${child.exitCode}`);
    await Bun.sleep(10);
  }
  return { [Symbol.dispose]: () => child.kill() };
}

function ask(namespace: Namespace, kind: string, address: string, port: number, from?: number): string {
  const words = [kind, address, `${port}`, ...(from === undefined ? [] : [`${from}`])];
  const { stdout } = Bun.spawnSync(["nsenter", `--net=${namespace.path}`, process.execPath, "-e", ASK, "--", ...words]);
  return stdout.toString().trim();
}

describe.each(FLAVOURS)("iptables-%s: packets", (flavour) => {
  test("a published port answers from outside, from the host, at its loopback, and to the pod itself", async () => {
    using node = new Node();
    const { host, pod, client } = node;
    const { options } = new Iptables(host, flavour);
    const conf = confOf({}, [TCP, { hostPort: 5353, containerPort: 53, protocol: "udp" }], RESULT);
    using _tcp = await listening(node, "tcp", 80);
    using _udp = await listening(node, "udp4", 53);
    expect(ask(client, "tcp", "192.0.2.1", 8080)).toBe("refused");
    pod.add(plugin(host), conf, options);
    // The pod sees who asks, unless the answer would then go another way.
    expect(ask(client, "tcp", "192.0.2.1", 8080)).toBe("192.0.2.2");
    expect(ask(client, "udp4", "192.0.2.1", 5353)).toBe("192.0.2.2");
    expect(ask(client, "tcp", "2001:db8::1", 8080)).toBe("2001:db8::2");
    expect(ask(host.namespace, "tcp", "192.0.2.1", 8080)).toBe("192.0.2.1");
    expect(ask(host.namespace, "tcp", "127.0.0.1", 8080)).toBe("10.5.1.1");
    expect(ask(host.namespace, "udp4", "127.0.0.1", 5353)).toBe("10.5.1.1");
    expect(ask(pod.namespace, "tcp", "10.5.1.1", 8080)).toBe("10.5.1.1");
    pod.del(plugin(host), conf, options);
    expect(ask(client, "tcp", "192.0.2.1", 8080)).toBe("refused");
    expect(ask(client, "tcp", "2001:db8::1", 8080)).toBe("refused");
  });
});

test("UDP that a client went on sending before there was a container is translated from the next packet on", async () => {
  using node = new Node();
  const { host, pod, client } = node;
  const iptables = new Iptables(host, "nft");
  using _ = await listening(node, "udp4", 53);
  // Connections are tracked only where something translates.
  iptables.run("iptables -t nat -A POSTROUTING -s 203.0.113.0/24 -j MASQUERADE");
  using _other = await listeningOnHost(node, 5353);
  expect(ask(client, "udp4", "192.0.2.1", 5353, 4000)).toBe("192.0.2.2 by the host");
  pod.add(plugin(host), confOf({}, [{ hostPort: 5353, containerPort: 53, protocol: "udp" }], RESULT), iptables.options);
  expect(ask(client, "udp4", "192.0.2.1", 5353, 4000)).toBe("192.0.2.2");
});

async function listeningOnHost(node: Node, port: number): Promise<Disposable> {
  const ready = node.host.path("ready-host");
  const echo = ECHO.replace("plain(from.address), from.port", 'plain(from.address) + " by the host", from.port');
  const command = [
    "nsenter",
    `--net=${node.host.namespace.path}`,
    process.execPath,
    "-e",
    echo,
    "--",
    "udp4",
    `${port}`,
    ready,
  ];
  const child = Bun.spawn(command, { stdio: ["ignore", "inherit", "inherit"] });
  while (!(await Bun.file(ready).exists())) await Bun.sleep(10);
  return { [Symbol.dispose]: () => child.kill() };
}

describe.each(FLAVOURS)("iptables-%s: verbs", (flavour) => {
  test("50 containers at once, on a node whose rules were flushed: every rule once; GC removes those that are gone", async () => {
    using host = new Host();
    const iptables = new Iptables(host, flavour);
    const pods = Array.from({ length: 50 }, () => host.pod());
    for (const chain of ["DNAT", "SETMARK", "MASQ"]) iptables.run(`iptables -t nat -N CNI-HOSTPORT-${chain}`);
    const answers = await Promise.all(
      pods.map((pod, i) =>
        pod.start(
          "ADD",
          plugin(host),
          confOf({}, [{ ...TCP, hostPort: 9000 + i }], resultOf(`10.5.1.${i + 2}/24`)),
          iptables.options,
        ),
      ),
    );
    expect(answers.filter(({ exitCode, stderr }) => exitCode !== 0 || stderr !== "")).toEqual([]);
    const rules = iptables
      .save()
      .split("\n")
      .filter((line) => line.startsWith("-A CNI-") || line.includes("-j CNI-"));
    expect(new Set(rules).size).toBe(rules.length);
    expect(rules).toHaveLength(5 + 50 * 4);
    const [kept, ...gone] = pods as [Pod, ...Pod[]];
    const conf = {
      ...confOf({ cniVersion: "1.1.0" }, []),
      "cni.dev/valid-attachments": [{ containerID: kept.containerId, ifname: "eth0" }],
    };
    expect(host.call("GC", plugin(host), { ...conf, name: "othernet" }, iptables.options).exitCode).toBe(0);
    expect(containerChains(iptables)).toHaveLength(50);
    expect(host.call("GC", plugin(host), conf, iptables.options)).toMatchObject({
      exitCode: 0,
      stdout: "",
      stderr: "",
    });
    expect(containerChains(iptables)).toHaveLength(1);
    expect(iptables.save()).toContain(`id: \\"${kept.containerId}\\"`);
    expect(iptables.save()).not.toContain(`id: \\"${gone[0]?.containerId}\\"`);
  });

  test("CHECK tells what is missing", () => {
    using host = new Host();
    const iptables = new Iptables(host, flavour);
    const pod = host.pod();
    const conf = confOf({ conditionsV4: ["!", "-s", "192.0.2.0/24"] }, [TCP], RESULT);
    pod.add(plugin(host), conf, iptables.options);
    expect(pod.call("CHECK", plugin(host), conf, iptables.options)).toMatchObject({ exitCode: 0, stdout: "" });
    iptables.run("ip6tables -t nat -D OUTPUT 1");
    const { exitCode, json } = pod.call("CHECK", plugin(host), conf, iptables.options);
    expect(exitCode).toBe(1);
    expect(json.details).toBe("-A OUTPUT -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT");
    // ADD repairs it.
    pod.add(plugin(host), conf, iptables.options);
    expect(pod.call("CHECK", plugin(host), conf, iptables.options).exitCode).toBe(0);
  });
});

describe("configuration", () => {
  test("keys in any letter case, as containerd writes them", () => {
    using host = new Host();
    const iptables = new Iptables(host, "nft");
    const mapping = { HostPort: 8080, ContainerPort: 80, Protocol: "TCP", HostIP: "" };
    host.pod().add(plugin(host), confOf({}, [mapping], RESULT), iptables.options);
    expect(iptables.save()).toContain("--dport 8080 -j DNAT --to-destination 10.5.1.7:80");
  });

  test("without mappings nothing is done, and the result goes through", () => {
    using host = new Host();
    const iptables = new Iptables(host, "nft");
    const before = iptables.save();
    expect(host.pod().add(plugin(host), confOf({}, [], RESULT), iptables.options)).toEqual(RESULT);
    expect(iptables.save()).toBe(before);
  });

  const faulty: [string, Json, Json[], string[]][] = [
    [
      "every fault of a mapping",
      {},
      [{ hostPort: 0, protocol: "icmp", hostIP: "host" }],
      ["[0].hostPort: got 0", "[0].containerPort: missing", '[0].protocol: got "icmp"', '[0].hostIP: got "host"'],
    ],
    [
      "a port too high",
      {},
      [{ ...TCP, hostPort: 65536 }],
      ["[0].hostPort: got 65536, want a whole number from 1 to 65535"],
    ],
    ["a bit too high", { markMasqBit: 32 }, [TCP], ["markMasqBit: got 32"]],
    [
      "a bit and a chain",
      { markMasqBit: 3, externalSetMarkChain: "X" },
      [TCP],
      ["externalSetMarkChain and markMasqBit: got X and 3, want one of them"],
    ],
    [
      "a line break in a condition",
      { conditionsV4: ["-i", "lo\n-F PREROUTING"] },
      [TCP],
      ['conditionsV4[1]: got "lo\\n-F PREROUTING"'],
    ],
    ["the backend of newer plugins", { backend: "nftables" }, [TCP], ['backend: got "nftables", want "iptables"']],
  ];
  test.each(faulty)("%s", (_, keys, mappings, faults) => {
    using host = new Host();
    const pod = host.pod();
    const conf = confOf(keys, mappings, RESULT);
    const { exitCode, json } = pod.call("ADD", plugin(host), conf);
    expect({ exitCode, code: json.code }).toEqual({ exitCode: 1, code: 7 });
    for (const fault of faults) expect(json.msg).toContain(fault);
    // What could not be added can be removed.
    expect(pod.call("DEL", plugin(host), conf)).toMatchObject({ exitCode: 0, stdout: "" });
  });

  test("what iptables refuses is told with the line it refused, and leaves no rule", () => {
    using host = new Host();
    const iptables = new Iptables(host, "nft");
    const conf = confOf({ conditionsV4: ["--no-such-option"] }, [TCP], RESULT);
    const { json } = host.pod().call("ADD", plugin(host), conf, iptables.options);
    expect(json.msg).toContain("cannot change table nat: iptables-restore: ");
    expect(json.msg).toContain("--no-such-option");
    expect(iptables.save()).not.toContain("CNI-");
  });
});

test("without iptables STATUS says so with code 50, and ADD what to install", () => {
  using host = new Host();
  const pod = host.pod();
  const options = { environment: { PATH: "/usr/bin:/bin" } };
  // A PATH without /usr/sbin is no hindrance: so that is hidden by an empty directory.
  const hidden = host.write("hidden.sh", `#!/bin/sh\nmount -t tmpfs none /usr/sbin\nexec ${plugin(host)}\n`);
  const call = (verb: string, conf: Json) => {
    const command = ["nsenter", `--net=${host.namespace.path}`, "unshare", "-m", "sh", hidden];
    const env = {
      PATH: process.env.PATH,
      CNI_COMMAND: verb,
      CNI_PATH: "/x",
      CNI_CONTAINERID: "a",
      CNI_NETNS: pod.namespace.path,
      CNI_IFNAME: "eth0",
    };
    const { stdout } = Bun.spawnSync(command, { env, stdin: Buffer.from(JSON.stringify(conf)) });
    return JSON.parse(stdout.toString());
  };
  expect(host.call("STATUS", plugin(host), confOf({ cniVersion: "1.1.0" }, []), options)).toMatchObject({
    exitCode: 0,
    stdout: "",
  });
  expect(call("STATUS", confOf({ cniVersion: "1.1.0" }, []))).toMatchObject({
    code: 50,
    msg: expect.stringContaining("cannot run iptables-save: it is not in PATH; install the package iptables"),
  });
  expect(call("ADD", confOf({}, [TCP], RESULT))).toMatchObject({
    code: 999,
    msg: expect.stringContaining("install the package iptables"),
  });
  expect(call("ADD", { ...confOf({}, [TCP]), name: NETWORK })).toMatchObject({
    code: 7,
    msg: expect.stringContaining("prevResult: missing"),
  });
});
