// The watch of metadata, against the double: what is asked of a server that grants it, and that nothing else differs where one sends whole Nodes all the same, or
// something on the way refuses the wish.

import { expect, test } from "bun:test";
import type { Prefix } from "../../src/ip/prefix.ts";
import { Caller } from "./caller.ts";
import type { MetadataOnly } from "./forms.ts";
import { Loopback } from "./loopback.ts";
import { flannelAnnotations, heartbeat, madeNode } from "./made_nodes.ts";
import { LIMIT_MS, Member } from "./member.ts";

const NODES = "/api/v1/nodes";
const NETWORK = "10.5.0.0/16" as Prefix;
const OWN = { metadata: { name: "own" }, spec: { podCIDR: "10.5.9.0/24" } };
const METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";

const BYTES = 5_000;
/** As a server has it. */
const made = (n: number) => madeNode(n, BYTES);

async function open(metadataOnly: MetadataOnly) {
  const stack = new AsyncDisposableStack();
  const loopback = stack.use(await Loopback.open({ metadataOnly }));
  const { server } = loopback;
  const admin = stack.use(new Caller(loopback.access("admin-token")));
  for (const node of [OWN, made(1), made(2)]) await admin.ask("POST", NODES, node);
  const member = stack.use(new Member(loopback.access("flannel-token"), "own", NETWORK));
  const own = await member.acquire("198.51.100.1");
  await member.manager.ready(own, member.stop.signal);
  const keeping = member.manager.keep(own, member.stop.signal);
  const peer = (n: number) => `10.5.${n}.0-24`;
  const seen = (wanted: Readonly<Record<string, string>>) =>
    member.set(own, ({ leases }) => {
      const found = [...leases.values()].map(({ key, publicIp }) => [key as string, publicIp.ipv4 as string]);
      return Bun.deepEquals(Object.fromEntries(found), wanted);
    });
  await seen({ [peer(1)]: "192.168.77.1", [peer(2)]: "192.168.77.2" });
  const ofFlannel = (wanted: string) => server.asked.filter(({ user, verb }) => user === "flannel" && verb === wanted);
  /** What flannel asked since this was last called. */
  const asked = () =>
    server.asked
      .splice(0)
      .filter(({ user }) => user === "flannel")
      .map(({ verb, path, accept }) => ({ verb, path: path.replace(/\?.*/, ""), accept }));
  const until = async (holds: () => Promise<boolean> | boolean) => {
    const end = performance.now() + LIMIT_MS;
    while (!(await holds()) && performance.now() < end) await Bun.sleep(5);
    expect(await holds()).toBe(true);
  };
  await until(() => ofFlannel("watch").length === (metadataOnly === "refused" ? 2 : 1));
  return { stack, server, admin, member, keeping, peer, seen, asked, ofFlannel, until };
}

const verbs = (asked: readonly { readonly verb: string; readonly path: string }[]) =>
  asked.map(({ verb, path }) => `${verb} ${path.replace(NODES, "")}`.trim());

test("a watch asks for metadata; heartbeats, new annotations, and those that go and come back cost no request", async () => {
  const { stack, admin, peer, seen, asked } = await open("granted");
  await using _ = stack;
  expect(verbs(asked())).toEqual(["get /own", "patch /own/status", "patch /own/status", "list", "watch"]);
  for (let n = 0; n < 20; n++) await admin.patch("made-1", heartbeat());
  await admin.patch("made-1", { metadata: { annotations: flannelAnnotations(7) } });
  await seen({ [peer(1)]: "192.168.77.7", [peer(2)]: "192.168.77.2" });
  await admin.patch("made-1", { metadata: { annotations: { "flannel.alpha.coreos.com/kube-subnet-manager": null } } });
  await seen({ [peer(2)]: "192.168.77.2" });
  await admin.patch("made-1", { metadata: { annotations: flannelAnnotations(1) } });
  await seen({ [peer(1)]: "192.168.77.1", [peer(2)]: "192.168.77.2" });
  expect(asked()).toEqual([]);
});

test("a node that comes is read once, by itself, and whole", async () => {
  const { stack, admin, peer, seen, asked } = await open("granted");
  await using _ = stack;
  expect(asked().find(({ verb }) => verb === "watch")?.accept).toBe(METADATA_ONLY);
  await admin.ask("POST", NODES, { metadata: { name: "made-3" }, spec: { podCIDR: "10.5.3.0/24" } });
  await admin.patch("made-3", heartbeat());
  await admin.patch("made-3", { metadata: { annotations: flannelAnnotations(3) } });
  await seen({ [peer(1)]: "192.168.77.1", [peer(2)]: "192.168.77.2", [peer(3)]: "192.168.77.3" });
  await admin.patch("made-3", heartbeat());
  await admin.ask("DELETE", `${NODES}/made-3`);
  await seen({ [peer(1)]: "192.168.77.1", [peer(2)]: "192.168.77.2" });
  expect(asked()).toEqual([{ verb: "get", path: `${NODES}/made-3`, accept: "application/json" }]);
});

test("the own Node is read once for each change that others made, and not for its own", async () => {
  const { stack, admin, until, asked, ofFlannel } = await open("granted");
  await using _ = stack;
  asked();
  const condition = { type: "NetworkUnavailable", status: "True", reason: "NoRouteCreated", message: "" };
  await admin.patch("own", { status: { conditions: [condition] } });
  const reason = async () => (await admin.ask("GET", `${NODES}/own`)).json.status.conditions[0].reason;
  await until(async () => (await reason()) === "FlannelIsUp");
  await Bun.sleep(100);
  expect(verbs(asked())).toEqual(["get /own", "patch /own/status"]);
  await admin.patch("own", heartbeat());
  await until(() => ofFlannel("get").length === 1);
  await Bun.sleep(100);
  expect(verbs(asked())).toEqual(["get /own"]);
});

test("a right to get that is missing is told, holds up nothing else, and when it is there the node follows", async () => {
  const { stack, admin, member, peer, seen, server } = await open("granted");
  await using _ = stack;
  server.gate.forbiddenVerbs = new Set(["get"]);
  await admin.ask("POST", NODES, made(4));
  await admin.patch("made-1", { metadata: { annotations: flannelAnnotations(7) } });
  await seen({ [peer(1)]: "192.168.77.7", [peer(2)]: "192.168.77.2" });
  expect(member.events).toMatchObject([{ kind: "store failing", error: { reason: "denied" } }]);
  server.gate.forbiddenVerbs = new Set();
  await seen({ [peer(1)]: "192.168.77.7", [peer(2)]: "192.168.77.2", [peer(4)]: "192.168.77.4" });
  expect(member.events.map(({ kind }) => kind)).toEqual(["store failing", "store recovered"]);
});

const modes: MetadataOnly[] = ["granted", "whole", "refused"];
test.each(modes)("peers come, move, change and go, and the own Node is kept and lost: %s", async (mode) => {
  const { stack, admin, member, keeping, peer, seen, until } = await open(mode);
  await using _ = stack;
  await admin.ask("POST", NODES, made(3));
  await seen({ [peer(1)]: "192.168.77.1", [peer(2)]: "192.168.77.2", [peer(3)]: "192.168.77.3" });
  await admin.ask("DELETE", `${NODES}/made-3`);
  await admin.ask("POST", NODES, { ...made(3), spec: { podCIDR: "10.5.33.0/24" } });
  await seen({ [peer(1)]: "192.168.77.1", [peer(2)]: "192.168.77.2", [peer(33)]: "192.168.77.3" });
  await admin.patch("made-2", { metadata: { annotations: flannelAnnotations(5) } });
  await admin.ask("DELETE", `${NODES}/made-1`);
  await seen({ [peer(2)]: "192.168.77.5", [peer(33)]: "192.168.77.3" });
  await admin.patch("own", { metadata: { annotations: { "flannel.alpha.coreos.com/public-ip": "203.0.113.1" } } });
  const publicIp = async () =>
    (await admin.ask("GET", `${NODES}/own`)).json.metadata.annotations["flannel.alpha.coreos.com/public-ip"];
  await until(async () => (await publicIp()) === "198.51.100.1");
  await admin.ask("DELETE", `${NODES}/own`);
  await admin.ask("POST", NODES, OWN);
  expect(await keeping).toBe("lost");
  expect(member.events.map(({ kind }) => kind)).toEqual(["restored"]);
});

test("who is refused metadata asks for whole Nodes at once, and for no metadata again", async () => {
  const { stack, admin, server, peer, seen, asked } = await open("refused");
  await using _ = stack;
  const watches = () => asked().filter(({ verb }) => verb === "watch");
  expect(watches().map(({ accept }) => accept)).toEqual([METADATA_ONLY, "application/json"]);
  server.endWatches();
  await admin.patch("made-1", { metadata: { annotations: flannelAnnotations(7) } });
  await seen({ [peer(1)]: "192.168.77.7", [peer(2)]: "192.168.77.2" });
  expect(watches().map(({ accept }) => accept)).toEqual(["application/json"]);
});
