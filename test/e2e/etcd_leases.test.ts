// A flanneld's life on etcd, in both generations of its API: which one it takes, reservations, renewals, host names, certificates that are rotated, a password.

import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { CertificateDirectory } from "../etcd/certificates.ts";
import { becomes } from "./becomes.ts";
import { open } from "./etcd_network.ts";
import { EtcdStore } from "./etcd_store.ts";
import { route, routesOf } from "./made_peers.ts";
import { DUAL_STACK, NETWORK, Underlay } from "./nodes.ts";
import { until } from "./program.ts";
import { leaseKey } from "./store.ts";

const TEST_MS = 90_000;
const CONFIG = JSON.stringify(NETWORK);
const KEY = "/coreos.com/network/config";
const LATE = 151;

describe.each(["3", "2"] as const)("etcd v%s", (api) => {
  const etcd = { enableV2: true, api } as const;

  test(
    "a reservation is used and stays one, over renewals and a restart",
    async () => {
      await using underlay = await Underlay.open({ nodes: 1, families: ["ipv4"], etcd });
      const [node, store] = [underlay.node(1), new EtcdStore(underlay.cluster, api)];
      const key = "10.5.123.0-24";
      store.set(key, JSON.stringify({ PublicIP: node.address.ipv4 }));
      for (let run = 0; run < 2; run++) {
        await using flanneld = await node.flanneld({ flags: ["--lease-ttl=3"] }).ready();
        expect(node.subnet()).toBe("10.5.123.0/24");
        await Bun.sleep(5_000);
        expect(store.ttl(key)).toBeUndefined();
        expect(JSON.parse(store.value(key))).toMatchObject({ PublicIP: node.address.ipv4, BackendType: "vxlan" });
        expect(flanneld.lines(/Lease (lost|renewed)/)).toEqual([]);
        expect(await flanneld.stop()).toBe(0);
      }
    },
    TEST_MS,
  );

  test(
    "a lease is renewed in time, and no peer hears of it; a node that dies goes with its lease",
    async () => {
      await using underlay = await Underlay.open({ families: ["ipv4"], etcd });
      const [watcher, dying] = [underlay.node(1), underlay.node(2)];
      const store = new EtcdStore(underlay.cluster, api);
      const watching = watcher.flanneld({ flags: ["-v=2"] });
      const daemon = dying.flanneld({ flags: ["--lease-ttl=6"] });
      await Promise.all([watching.peers(1), daemon.peers(1)]);
      const key = leaseKey(dying.subnet());
      const leases = store.leases();
      await until("renewed three times", () => daemon.lines(/Lease renewed/).length >= 3, daemon);
      expect(store.ttl(key)).toBeGreaterThan(0);
      expect(store.ttl(key)).toBeLessThanOrEqual(6);
      expect(store.leases()).toEqual(leases); // etcd v3: no new one for a renewal
      expect(watching.lines(/peer: /)).toHaveLength(1);
      await daemon.stop("SIGKILL");
      await becomes(() => routesOf(watcher), [], 20_000);
      expect(store.keys()).toEqual([leaseKey(watcher.subnet())]);
    },
    TEST_MS,
  );

  test(
    "a network of IPv6 alone is refused, since etcd's keys cannot carry it",
    async () => {
      const config = { EnableIPv4: false, EnableIPv6: true, IPv6Network: "fd00:5::/48", Backend: { Type: "vxlan" } };
      await using underlay = await Underlay.open({ nodes: 1, config, etcd });
      const flanneld = underlay.node(1).flanneld();
      expect(await flanneld.exit()).toBe(1);
      expect(flanneld.output).toContain("config: EnableIPv4: got false, want true: a lease's key in etcd begins with");
      expect(new EtcdStore(underlay.cluster, api).keys()).toEqual([]);
    },
    TEST_MS,
  );

  test(
    "dual stack works, with upstream's key of both subnets",
    async () => {
      await using underlay = await Underlay.open({ config: DUAL_STACK, etcd });
      const [one, other] = [underlay.node(1), underlay.node(2)];
      await Promise.all([one, other].map((node) => node.flanneld().peers(1)));
      for (const family of ["ipv4", "ipv6"] as const) expect(await one.ping(other.overlay(family))).toBe(3);
      const key = `${leaseKey(one.subnet())}&${leaseKey(one.subnet("ipv6"))}`;
      expect(new EtcdStore(underlay.cluster, api).keys()).toContain(key);
    },
    TEST_MS,
  );

  test(
    "a node keeps its subnet by its public IP, without subnet.env",
    async () => {
      await using underlay = await Underlay.open({ nodes: 1, families: ["ipv4"], etcd });
      const node = underlay.node(1);
      const first = await node.flanneld().ready();
      const [subnet, mac] = [node.subnet(), node.link()?.mac];
      await first.stop();
      node.run(`ip link del flannel.1; rm ${node.subnetFile}`);
      await node.flanneld().ready();
      expect([node.subnet(), node.link()?.mac]).toEqual([subnet, mac]);
    },
    TEST_MS,
  );
});

describe("--etcd-api=auto", () => {
  const etcd = { enableV2: true, api: "auto" } as const;

  test.each([
    ["3", "etcd3"],
    ["2", "etcd2"],
  ] as const)(
    "waits for a configuration and takes the generation that gets one: v%s",
    async (api, kind) => {
      await using underlay = await Underlay.open({ nodes: 1, families: ["ipv4"], config: undefined, etcd });
      const flanneld = underlay.node(1).flanneld();
      await flanneld.says(
        /waiting: etcd at .* holds no network configuration yet under \/coreos\.com\/network\/config/,
      );
      await until("the cause in status.json", () => flanneld.status?.cause?.includes(KEY), flanneld);
      expect(flanneld.status?.phase).toBe("config");
      if (api === "3") underlay.cluster.ctl("put", KEY, CONFIG);
      else underlay.cluster.ctl2("set", KEY, CONFIG);
      await flanneld.ready();
      expect(flanneld.status?.store).toMatchObject({ kind, reachable: true });
      expect(flanneld.output).toContain(`network configuration from etcd v${api} at ${underlay.cluster.endpoints[0]}`);
      expect(new EtcdStore(underlay.cluster, api).keys()).toEqual([leaseKey(underlay.node(1).subnet())]);
    },
    TEST_MS,
  );

  test(
    "the same in both is v3; two that differ are an error that names both",
    async () => {
      await using underlay = await Underlay.open({ nodes: 2, families: ["ipv4"], etcd });
      underlay.cluster.ctl2("set", KEY, JSON.stringify(NETWORK, undefined, 2));
      await using flanneld = await underlay.node(1).flanneld().ready();
      expect(flanneld.status?.store?.kind).toBe("etcd3");
      underlay.cluster.ctl2("set", KEY, JSON.stringify({ ...NETWORK, Network: "10.9.0.0/16" }));
      const refused = underlay.node(2).flanneld();
      expect(await refused.exit()).toBe(1);
      for (const part of ["10.5.0.0/16", "10.9.0.0/16", "--etcd-api"]) expect(refused.output).toContain(part);
    },
    TEST_MS,
  );
});

/** flanneld under a mount namespace in which `file` is another one: "/etc/hosts". */
function withFile(file: string, as: string): readonly string[] {
  const script = `mount --bind ${file} ${as} && exec "$@"`;
  return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"];
}

test(
  "a host name in --etcd-endpoints is looked up, and looked up again when the connection breaks",
  async () => {
    await using underlay = await Underlay.open({ nodes: 1, families: ["ipv4"], etcd: { members: 3, api: "3" } });
    const node = underlay.node(1);
    const hosts = join(underlay.directory, "hosts");
    writeFileSync(hosts, "192.168.77.201 etcd.example.test\n");
    const under = withFile(hosts, "/etc/hosts");
    const flanneld = node.flanneld({ under, flags: ["--etcd-endpoints=http://etcd.example.test:2379"] });
    await flanneld.ready();
    writeFileSync(hosts, "192.168.77.202 etcd.example.test\n");
    await underlay.cluster.member(1).stop();
    const store = new EtcdStore(underlay.cluster, "3");
    await underlay.cluster.healthy(underlay.cluster.endpoints.slice(1));
    store.put(LATE);
    await until("a route", () => routesOf(node).includes(route(LATE)), flanneld);
  },
  TEST_MS,
);

test(
  "--etcd-discovery-srv finds the members by a name server's records, and finds others when they change",
  async () => {
    await using underlay = await Underlay.open({ nodes: 1, families: ["ipv4"], etcd: { members: 3, api: "3" } });
    const [node, { cluster }] = [underlay.node(1), underlay];
    const nameServer = (member: number) =>
      node.spawn([
        ...[
          "dnsmasq",
          "--keep-in-foreground",
          "--no-resolv",
          "--no-hosts",
          "--user=root",
          "--log-facility=-",
          "--pid-file",
        ],
        ...["--listen-address=192.168.77.1", "--bind-interfaces", "--conf-file=/dev/null"],
        `--srv-host=_etcd-client._tcp.example.test,m${member}.example.test,2379`,
        `--address=/m${member}.example.test/192.168.77.20${member}`,
      ]);
    const first = nameServer(1);
    await first.says(/started/);
    const resolv = join(underlay.directory, "resolv.conf");
    writeFileSync(resolv, "nameserver 192.168.77.1\n");
    const under = withFile(resolv, "/etc/resolv.conf");
    const flanneld = await node.flanneld({ under, flags: ["--etcd-discovery-srv=example.test"] }).ready();
    expect(flanneld.output).toContain("SRV records of example.test");
    await first.stop();
    await nameServer(2).says(/started/);
    await cluster.member(1).stop();
    await cluster.healthy(cluster.endpoints.slice(1));
    new EtcdStore(cluster, "3").put(LATE);
    await until("a route", () => routesOf(node).includes(route(LATE)), flanneld);
  },
  TEST_MS,
);

test(
  "etcd's authority and all certificates are rotated while flanneld runs",
  async () => {
    using directory = new CertificateDirectory();
    await directory.authority("old");
    await directory.authority("new");
    const hosts = ["192.168.77.201"];
    const server = await directory.issue("old", "etcd", { hosts });
    const client = await directory.issue("old", "flanneld");
    const trusted = directory.bundle("trusted", ["old"]);
    const tls = { ...server, caFile: trusted, clientCaFile: trusted, client };
    await using underlay = await Underlay.open({ nodes: 1, families: ["ipv4"], etcd: { tls, api: "3" } });
    const [node, { cluster }] = [underlay.node(1), underlay];
    const flanneld = await node.flanneld({ flags: ["--lease-ttl=6"] }).ready();
    const restart = async () => {
      await cluster.member(1).stop("SIGTERM");
      cluster.member(1).start();
      await cluster.healthy();
    };
    // As one does it: both authorities are trusted, then everything is signed anew, then the old one is trusted no more.
    directory.bundle("trusted", ["old", "new"]);
    await restart();
    await directory.issue("new", "etcd", { hosts });
    await directory.issue("new", "flanneld");
    await restart();
    directory.bundle("trusted", ["new"]);
    await restart();
    new EtcdStore(cluster, "3").put(LATE);
    await until("a route", () => routesOf(node).includes(route(LATE)), flanneld);
    await until("a renewal", () => flanneld.lines(/Lease renewed/).length > 0, flanneld);
    expect(flanneld.lines(/Lease lost/)).toEqual([]);
  },
  TEST_MS,
);

test(
  "a user with a password takes part; a wrong password is told without it",
  async () => {
    await using underlay = await Underlay.open({ nodes: 1, families: ["ipv4"], etcd: { api: "3" } });
    const [node, { cluster }] = [underlay.node(1), underlay];
    for (const command of [
      "user add root:secret-of-root",
      "user grant-role root root",
      "user add flannel:right-password",
      "role add flannel",
      "role grant-permission flannel readwrite --prefix=true /coreos.com/network/",
      "user grant-role flannel flannel",
      "auth enable",
    ])
      cluster.ctl(...command.split(" "));
    const wrong = node.flanneld({
      flags: ["--etcd-username=flannel"],
      environment: { FLANNELD_ETCD_PASSWORD: "wrong-password" },
    });
    expect(await wrong.exit()).toBe(1);
    expect(wrong.output).toContain("--etcd-username");
    expect(wrong.output).not.toContain("wrong-password");
    const environment = { FLANNELD_ETCD_USERNAME: "flannel", FLANNELD_ETCD_PASSWORD: "right-password" };
    const flanneld = await node.flanneld({ environment }).ready();
    await cluster.member(1).stop("SIGTERM");
    cluster.member(1).start(); // it knows no token of before
    await until("an unreachable store", () => flanneld.lines(/trying again$/).length > 0, flanneld);
    await until("reachable again", () => flanneld.lines(/the store answers again/).length > 0, flanneld);
    const put = [
      "put",
      "/coreos.com/network/subnets/10.5.151.0-24",
      '{"PublicIP":"192.168.77.151","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:97"}}',
    ];
    cluster.ctl("--user=root:secret-of-root", ...put);
    await until("a route", () => routesOf(node).includes(route(LATE)), flanneld);
    expect(flanneld.output).not.toContain("right-password");
  },
  TEST_MS,
);

test(
  "peers that exist only in the store are followed, whatever nonsense stands beside them",
  async () => {
    const { underlay, store, node, flanneld } = await open("3", 1);
    await using _ = underlay;
    const before = routesOf(node);
    store.set("10.5.160.0-24", "{");
    store.set("nonsense", "{}");
    store.set("10.5.161.0-24", '{"PublicIP":"192.168.77.1","BackendType":"vxlan"}');
    store.put(162);
    await until("the good one's route", () => routesOf(node).includes(route(162)), flanneld);
    expect(routesOf(node)).toEqual([...before, route(162)]);
    await until("three refusals", () => flanneld.status?.refused === 3, flanneld);
    for (const key of ["10.5.160.0-24", "nonsense", "10.5.161.0-24"]) await flanneld.says(new RegExp(key));
  },
  TEST_MS,
);
