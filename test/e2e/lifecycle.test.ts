// One flanneld from start to end, as those see it who wait for it: the CNI plugin, systemd, probes, scripts.

import { expect, test } from "bun:test";
import { existsSync, readFileSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { AF_UNIX, bind, close, recvNow, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK, socket } from "../../src/sys/libc.ts";
import { becomes } from "./becomes.ts";
import { DUAL_STACK, NETWORK, type Node, Underlay } from "./nodes.ts";
import { until } from "./program.ts";
import { LATE, peerLease } from "./store.ts";

test.each(["SIGTERM", "SIGINT"] as const)(
  "flanneld: %s ends it with 0 and leaves the data plane standing",
  async (signal) => {
    await using underlay = await Underlay.open({ nodes: 1, config: DUAL_STACK });
    const node = underlay.node(1);
    await underlay.store.put(peerLease(2).key, peerLease(2).value);
    const flanneld = await node.flanneld().ready();
    await until("the peer", () => node.objects().some((line) => line.startsWith("route")), flanneld);
    const [before, file] = [node.objects(), readFileSync(node.subnetFile, "utf8")];
    expect(await flanneld.stop(signal)).toBe(0);
    expect(node.objects()).toEqual(before);
    expect(readFileSync(node.subnetFile, "utf8")).toBe(file);
    expect(flanneld.status?.phase).toBe("stopping");
    expect(flanneld.lines(/^[WE]/)).toEqual([]);
  },
);

test.each(["SIGTERM", "SIGINT"] as const)(
  "flanneld: %s while it waits for a configuration ends it with 0",
  async (signal) => {
    await using underlay = await Underlay.open({ nodes: 1, config: undefined });
    const flanneld = underlay.node(1).flanneld();
    await flanneld.says(/waiting/);
    expect(await flanneld.stop(signal)).toBe(0);
  },
);

const envs: [string, object, readonly string[], (node: Node) => string][] = [
  [
    "IPv4",
    NETWORK,
    [],
    () => "FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.77.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n",
  ],
  [
    "dual stack with --ip-masq",
    DUAL_STACK,
    ["--ip-masq"],
    () =>
      "FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.77.1/24\nFLANNEL_IPV6_NETWORK=fd00:5::/48\nFLANNEL_IPV6_SUBNET=fd00:5:0:77::1/64\n" +
      "FLANNEL_MTU=1430\nFLANNEL_IPMASQ=true\n",
  ],
  [
    "IPv6 with an MTU of its own",
    { ...DUAL_STACK, EnableIPv4: false, Backend: { Type: "vxlan", MTU: 1400 } },
    [],
    () =>
      "FLANNEL_IPV6_NETWORK=fd00:5::/48\nFLANNEL_IPV6_SUBNET=fd00:5:0:77::1/64\nFLANNEL_MTU=1330\nFLANNEL_IPMASQ=false\n",
  ],
];
/** A reservation in the form that a row's network needs: subnets number 77 of both families. */
async function reserve({ store }: Underlay, node: Node, config: object): Promise<void> {
  const { EnableIPv4 = true, EnableIPv6 = false } = config as { EnableIPv4?: boolean; EnableIPv6?: boolean };
  const parts = [...(EnableIPv4 ? ["10.5.77.0-24"] : []), ...(EnableIPv6 ? ["fd00:5:0:77::-64"] : [])];
  const publicIp = {
    ...(EnableIPv4 && { PublicIP: node.address.ipv4 }),
    ...(EnableIPv6 && { PublicIPv6: node.address.ipv6 }),
  };
  await store.put(parts.join("&"), publicIp);
}

test.each(envs)(
  "flanneld: subnet.env for %s, readable by all, and made again when it is removed",
  async (_title, config, flags, text) => {
    await using underlay = await Underlay.open({ nodes: 1, config });
    const node = underlay.node(1);
    await reserve(underlay, node, config);
    const strict = ["sh", "-c", 'umask 077; exec "$@"', "sh"];
    const flanneld = await node.flanneld({ flags, under: strict }).ready();
    expect(readFileSync(node.subnetFile, "utf8")).toBe(text(node));
    const mode = (path: string) => statSync(path).mode & 0o777;
    expect([mode(node.subnetFile), mode(dirname(node.subnetFile))]).toEqual([0o644, 0o755]);
    node.run(`rm ${node.subnetFile}`);
    await until("subnet.env again", () => existsSync(node.subnetFile), flanneld);
    expect(readFileSync(node.subnetFile, "utf8")).toBe(text(node));
  },
);

/** A datagram socket at a path, as systemd has it. */
class NotifySocket implements Disposable {
  readonly path: string;
  readonly #fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, "test");

  constructor(path: string) {
    this.path = path;
    bind(this.#fd, Buffer.concat([Buffer.from([AF_UNIX, 0]), Buffer.from(`${path}\0`)]), path);
  }

  /** The next datagram, if there is one. */
  receive(): string | undefined {
    const buffer = new Uint8Array(1_000);
    const length = recvNow(this.#fd, buffer);
    return length > 0 ? new TextDecoder().decode(buffer.subarray(0, length)) : undefined;
  }

  [Symbol.dispose](): void {
    close(this.#fd);
  }
}

test("flanneld: subnet.env appears whole, by rename, and only then is systemd told, as the system calls show", async () => {
  await using underlay = await Underlay.open({ nodes: 1 });
  const node = underlay.node(1);
  using notify = new NotifySocket(`${underlay.directory}/notify`);
  const trace = `${underlay.directory}/trace`;
  const under = [
    "strace",
    "-D",
    "-f",
    "-s",
    "200",
    "-o",
    trace,
    "-e",
    "trace=open,openat,creat,rename,renameat,renameat2,sendto",
  ];
  const flanneld = await node.flanneld({ under, environment: { NOTIFY_SOCKET: notify.path } }).ready();
  const told: string[] = [];
  const ready = () => {
    told.push(notify.receive() ?? "");
    return told.at(-1)?.startsWith("READY=1\n");
  };
  await until("READY=1", ready, flanneld);
  expect(told.filter((text) => text.includes("READY=1"))).toHaveLength(1);
  await flanneld.stop();
  const end = new RegExp(`^${flanneld.pid} +\\+\\+\\+ exited with 0`, "m"); // strace pads the pid, and ends a little later
  const calls = await until("the end of the trace", () => {
    const text = readFileSync(trace, "utf8");
    return end.test(text) && text.split("\n");
  });
  const writes = calls.filter(
    (call) => /open|creat/.test(call) && call.includes('subnet.env"') && !call.includes("O_RDONLY"),
  );
  expect(writes).toEqual([]);
  const order = calls
    .filter((call) => /rename.*subnet\.env"|READY=1/.test(call))
    .map((call) => call.match(/rename|READY=1/)?.[0]);
  expect(order).toEqual(["rename", "READY=1"]);
});

/** Status and body of a request inside a node. */
async function get(node: Node, path: string): Promise<string> {
  const { output } = await node.finished(["curl", "-s", "-w", " %{http_code}", `http://127.0.0.1:8081${path}`]);
  return output;
}

test("flanneld: waits for a configuration, says so once, is alive and not ready; then goes on by itself", async () => {
  await using underlay = await Underlay.open({ nodes: 1, config: undefined });
  const node = underlay.node(1);
  const flanneld = node.flanneld({ flags: ["--healthz-port=8081"] });
  const reason = `embedded store ${underlay.storeFile} holds no network configuration yet`;
  await becomes(() => [flanneld.status?.phase, flanneld.status?.cause], ["config", reason]);
  await Bun.sleep(300);
  expect(flanneld.lines(/waiting/)).toEqual([expect.stringContaining(`waiting: ${reason}`)]);
  expect(await get(node, "/healthz")).toBe("flanneld is running 200");
  expect(await get(node, "/readyz")).toBe("flanneld is not ready yet 503");
  expect(existsSync(node.subnetFile)).toBe(false);

  await underlay.store.configure(NETWORK);
  await flanneld.ready();
  expect(await get(node, "/readyz")).toBe("flanneld is ready 200");
  expect(await get(node, "/healthz")).toBe("flanneld is running 200");
  expect(await get(node, "/other")).toEndWith(" 404");
  expect(flanneld.lines(/Lease acquired: 10\.5\.\d+\.0\/24$/)).toEqual([expect.stringContaining(node.subnet())]);
  expect(flanneld.status).toMatchObject({
    phase: "ready",
    network: { ipv4: "10.5.0.0/16" },
    subnet: { ipv4: node.subnet() },
    publicIp: { ipv4: node.address.ipv4 },
    backend: "vxlan",
    mtu: 1450,
    store: { kind: "embedded", reachable: true },
  });
  expect(flanneld.status?.cause).toBeUndefined();
});

test("flanneld: a wrong configuration ends it, a corrected one is taken by the next start, and one changed later disturbs nobody", async () => {
  await using underlay = await Underlay.open({ nodes: 1, config: undefined });
  const node = underlay.node(1);
  const first = node.flanneld();
  await first.says(/waiting/);
  await underlay.store.configure({ ...NETWORK, SubnetLen: 40 });
  expect(await first.exit()).toBe(1);
  expect(first.output).toContain("SubnetLen: got 40");
  expect(first.status).toMatchObject({ phase: "failed", cause: expect.stringContaining("SubnetLen: got 40") });

  await underlay.store.configure(NETWORK);
  const second = await node.flanneld().ready();
  const before = node.objects();
  await underlay.store.configure({ ...NETWORK, SubnetLen: 40 });
  await underlay.store.put(peerLease(LATE).key, peerLease(LATE).value);
  await becomes(() => node.objects().filter((line) => line.startsWith("route")).length, 1);
  expect(before.filter((line) => !node.objects().includes(line))).toEqual([]);
  expect(second.status?.phase).toBe("ready");
});
