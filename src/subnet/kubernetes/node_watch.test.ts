// What the watch makes of events and of Nodes that are read meanwhile, in every order in which they can come. The API is scripted here: what a server says is held
// to the double and to a real one elsewhere.

import { afterEach, expect, test } from "bun:test";
import { Inbox } from "../inbox.ts";
import { StoreError } from "../store_error.ts";
import { StoreRetry, type SubnetEvent } from "../store_retry.ts";
import type { WatchEvent } from "./api.ts";
import { type KubeNode, NodeReader } from "./node.ts";
import { NodeWatch } from "./node_watch.ts";

const PREFIX = "flannel.alpha.coreos.com/";
const FLANNELS = { "kube-subnet-manager": "true" };

interface Given {
  readonly name?: string;
  readonly uid?: string;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly podCIDR?: string;
  readonly unavailable?: string;
}

const metadata = (version: number, { name = "a", uid = "u1", annotations = FLANNELS }: Given = {}) => ({
  kind: "PartialObjectMetadata",
  metadata: {
    name,
    uid,
    resourceVersion: `${version}`,
    annotations: Object.fromEntries(Object.entries(annotations).map(([short, text]) => [`${PREFIX}${short}`, text])),
  },
});
const whole = (version: number, given: Given = {}) => ({
  ...metadata(version, given),
  kind: "Node",
  spec: given.podCIDR === undefined ? {} : { podCIDR: given.podCIDR },
  status:
    given.unavailable === undefined ? {} : { conditions: [{ type: "NetworkUnavailable", status: given.unavailable }] },
});

const stops: AbortController[] = [];
afterEach(() => {
  for (const stop of stops.splice(0)) stop.abort(new Error("over"));
});

/** A watch of Node "own" that has listed `items`. */
async function open(items: readonly object[] = []) {
  const stop = new AbortController();
  stops.push(stop);
  const inbox = new Inbox<readonly WatchEvent[] | StoreError>();
  const reads: { readonly name: string; readonly answer: PromiseWithResolvers<unknown> }[] = [];
  const told: SubnetEvent[] = [];
  const reader = new NodeReader(PREFIX);
  let latest: KubeNode | undefined;
  let writing = Promise.withResolvers<void>();
  writing.resolve();
  let lists = 0;
  let listed = items;
  const watch = new NodeWatch({
    api: {
      server: "https://server",
      node: (name) => {
        const answer = Promise.withResolvers<unknown>();
        reads.push({ name, answer });
        return answer.promise;
      },
      listNodes: async (_version, _own, take) => {
        lists++;
        for (const item of listed) take(item);
        return "100";
      },
      async *watchNodes() {
        for (;;) {
          await inbox.filled();
          const batches = inbox.take();
          if (batches === "ended") return;
          for (const batch of batches) {
            if (batch instanceof StoreError) throw batch;
            yield batch;
          }
        }
      },
    },
    reader,
    own: "own",
    retry: new StoreRetry(
      { firstMs: 1, maxMs: 1 },
      () => 0.5,
      (event) => told.push(event),
    ),
    random: () => 0,
    latest: () => latest,
    written: () => writing.promise,
  });
  void watch.run(stop.signal);
  const settled = () => Bun.sleep(5);
  await settled();
  return {
    watch,
    told,
    /** Names that were read so far. */
    get asked() {
      return reads.map(({ name }) => name);
    },
    get lists() {
      return lists;
    },
    say: async (type: string, object: object) => {
      inbox.push([{ type, object }]);
      await settled();
    },
    /** The server's versions begin again, and `anew` is what a list gives then. */
    restore: async (anew: readonly object[]) => {
      listed = anew;
      for (let i = 0; i < 5; i++) {
        inbox.push(new StoreError("unreachable", "", "Too large resource version"));
        await Bun.sleep(10);
      }
    },
    /** The last read but `before` is answered. */
    answer: async (object: object | Error, before = 0) => {
      const { answer } = reads.at(-1 - before) ?? {};
      if (object instanceof Error) answer?.reject(object);
      else answer?.resolve(object);
      await settled();
    },
    writes: () => {
      writing = Promise.withResolvers();
    },
    written: async (object: object) => {
      latest = reader.read(object);
      writing.resolve();
      await settled();
    },
    node: (name = "a") => watch.nodes.get(name),
  };
}

const A = { podCIDR: "10.5.1.0/24" };
const OWN = { name: "own", uid: "u9", podCIDR: "10.5.9.0/24" };
const ip = (text: string) => ({ annotations: { ...FLANNELS, "public-ip": text } });

test("heartbeats and changed annotations of a listed node cost no request", async () => {
  const world = await open([whole(90, A)]);
  await world.say("MODIFIED", metadata(101));
  await world.say("MODIFIED", metadata(102, ip("192.0.2.1")));
  expect(world.node()).toMatchObject({
    resourceVersion: "102",
    podCidrs: [A.podCIDR],
    annotations: ip("192.0.2.1").annotations,
  });
  expect(world.asked).toEqual([]);
});

test("a node that nobody knows is read once it is flannel's, and not before", async () => {
  const world = await open();
  await world.say("ADDED", metadata(101, { annotations: {} }));
  await world.say("MODIFIED", metadata(102, { annotations: {} }));
  expect(world.asked).toEqual([]);
  await world.say("MODIFIED", metadata(103));
  expect(world.asked).toEqual(["a"]);
  expect(world.node()?.podCidrs).toEqual([]);
  await world.answer(whole(103, A));
  expect(world.node()?.podCidrs).toEqual([A.podCIDR]);
  await world.say("MODIFIED", metadata(104));
  expect([world.node()?.podCidrs, world.asked]).toEqual([[A.podCIDR], ["a"]]);
});

test("annotations that go and come back need no request", async () => {
  const world = await open([whole(90, A)]);
  await world.say("MODIFIED", metadata(101, { annotations: {} }));
  expect(world.node()?.annotations).toEqual({});
  await world.say("MODIFIED", metadata(102));
  expect([world.node()?.podCidrs, world.asked]).toEqual([[A.podCIDR], []]);
});

for (const type of ["ADDED", "MODIFIED"]) {
  test(`another uid is another node, though only ${type} tells it: the old pod CIDR goes at once`, async () => {
    const world = await open([whole(90, A)]);
    await world.say(type, metadata(105, { uid: "u2" }));
    expect(world.node()).toMatchObject({ uid: "u2", podCidrs: [] });
    await world.answer(whole(105, { uid: "u2", podCIDR: "10.5.2.0/24" }));
    expect(world.node()?.podCidrs).toEqual(["10.5.2.0/24"]);
  });
}

test("a node that was read ahead of the watch is not put back by older events", async () => {
  const world = await open();
  await world.say("ADDED", metadata(101, ip("192.0.2.1")));
  await world.answer(whole(105, { ...A, ...ip("192.0.2.5") }));
  await world.say("MODIFIED", metadata(103, ip("192.0.2.3")));
  expect(world.node()?.annotations["public-ip"]).toBe("192.0.2.5");
  await world.say("MODIFIED", metadata(105, ip("192.0.2.5")));
  await world.say("MODIFIED", metadata(106, ip("192.0.2.6")));
  expect(world.node()).toMatchObject({ podCidrs: [A.podCIDR], annotations: ip("192.0.2.6").annotations });
  expect(world.asked).toEqual(["a"]);
});

test("read ahead of its deletion and return: neither the old deletion nor the old node counts", async () => {
  const world = await open();
  await world.say("ADDED", metadata(101));
  await world.answer(whole(110, { uid: "u2", podCIDR: "10.5.2.0/24" }));
  await world.say("DELETED", metadata(105));
  await world.say("ADDED", metadata(108, { uid: "u2" }));
  expect(world.node()).toMatchObject({ uid: "u2", podCidrs: ["10.5.2.0/24"] });
  await world.say("DELETED", metadata(111, { uid: "u2" }));
  expect(world.node()).toBeUndefined();
});

test("events that come while it is read stay, and what was missing is put to them", async () => {
  const world = await open();
  await world.say("ADDED", metadata(101, ip("192.0.2.1")));
  await world.say("MODIFIED", metadata(104, ip("192.0.2.4")));
  await world.answer(whole(102, { ...A, ...ip("192.0.2.2") }));
  expect(world.node()).toMatchObject({
    resourceVersion: "104",
    podCidrs: [A.podCIDR],
    annotations: ip("192.0.2.4").annotations,
  });
  expect(world.asked).toEqual(["a"]);
});

test("it is read again when the pod CIDR can have come with a newer event", async () => {
  const world = await open();
  await world.say("ADDED", metadata(101));
  await world.say("MODIFIED", metadata(104));
  await world.answer(whole(102));
  expect(world.asked).toEqual(["a", "a"]);
  await world.answer(whole(104, A));
  expect([world.node()?.podCidrs, world.asked.length]).toEqual([[A.podCIDR], 2]);
});

test("a node that went while it was read does not come back; one of its name that came since is read", async () => {
  const world = await open();
  await world.say("ADDED", metadata(101));
  await world.say("DELETED", metadata(102));
  await world.answer(whole(101, A));
  expect(world.node()).toBeUndefined();
  await world.say("ADDED", metadata(103, { uid: "u2" }));
  await world.say("DELETED", metadata(104, { uid: "u2" }));
  await world.say("ADDED", metadata(105, { uid: "u3" }));
  await world.answer(whole(103, { uid: "u2", ...A }));
  expect(world.node()).toMatchObject({ uid: "u3", podCidrs: [] });
  await world.answer(whole(105, { uid: "u3", podCIDR: "10.5.3.0/24" }));
  expect(world.node()?.podCidrs).toEqual(["10.5.3.0/24"]);
});

test("404: it is gone, and nobody asks again until it comes back", async () => {
  const world = await open();
  await world.say("ADDED", metadata(101));
  await world.answer(new StoreError("absent", "", "not found"));
  await world.say("DELETED", metadata(102));
  expect([world.node(), world.asked, world.told]).toEqual([undefined, ["a"], []]);
  await world.say("ADDED", metadata(103, { uid: "u2" }));
  await world.answer(whole(103, { uid: "u2", ...A }));
  expect(world.node()?.podCidrs).toEqual([A.podCIDR]);
});

test("a read that fails is tried again, told once, and holds up neither the watch nor the others", async () => {
  const world = await open([whole(90, { name: "b", uid: "u5", podCIDR: "10.5.5.0/24" })]);
  await world.say("ADDED", metadata(101));
  await world.answer(new StoreError("unreachable", "", "answers 500"));
  await world.answer(new StoreError("unreachable", "", "answers 500"));
  await world.say("MODIFIED", metadata(102, { name: "b", uid: "u5", ...ip("192.0.2.2") }));
  expect(world.node("b")?.annotations["public-ip"]).toBe("192.0.2.2");
  await world.answer(whole(101, A));
  expect(world.node()?.podCidrs).toEqual([A.podCIDR]);
  expect(world.told.map(({ kind }) => kind)).toEqual(["store failing", "store recovered"]);
});

test("no node is read that is no longer flannel's when its turn comes", async () => {
  const world = await open();
  for (let i = 0; i < 9; i++) await world.say("ADDED", metadata(101 + i, { name: `n${i}`, uid: `v${i}` }));
  await world.say("MODIFIED", metadata(120, { name: "n8", uid: "v8", annotations: {} }));
  await world.answer(whole(130, { name: "n7", uid: "v7", podCIDR: "10.5.7.0/24" }));
  expect(world.asked).toEqual(["n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7"]);
});

test("the own Node is read at each of its events, which count from then on", async () => {
  const world = await open([whole(90, { ...OWN, unavailable: "False" })]);
  await world.say("MODIFIED", metadata(101, { ...OWN, ...ip("192.0.2.1") }));
  expect(world.node("own")?.annotations["public-ip"]).toBeUndefined();
  await world.answer(whole(101, { ...OWN, ...ip("192.0.2.1"), unavailable: "True" }));
  expect(world.node("own")).toMatchObject({ networkUnavailable: "True", annotations: ip("192.0.2.1").annotations });
  await world.say("MODIFIED", metadata(102, { ...OWN }));
  await world.say("MODIFIED", metadata(103, { ...OWN }));
  await world.answer(whole(102, { ...OWN, unavailable: "True" }));
  await world.answer(whole(103, { ...OWN, unavailable: "False" }));
  expect(world.node("own")).toMatchObject({ resourceVersion: "103", networkUnavailable: "False" });
  expect(world.asked).toEqual(["own", "own", "own"]);
});

test("the own Node as this node has just written it is not read", async () => {
  const world = await open([whole(90, OWN)]);
  await world.written(whole(102, { ...OWN, unavailable: "False" }));
  await world.say("MODIFIED", metadata(101, { ...OWN }));
  await world.say("MODIFIED", metadata(102, { ...OWN }));
  expect([world.asked, world.node("own")?.networkUnavailable]).toEqual([[], "False"]);
  await world.say("MODIFIED", metadata(103, { ...OWN }));
  expect(world.asked).toEqual(["own"]);
});

test("an event that comes before the answer to the writing that it tells of waits for that", async () => {
  const world = await open([whole(90, OWN)]);
  world.writes();
  await world.say("MODIFIED", metadata(101, { ...OWN }));
  expect(world.asked).toEqual([]);
  await world.written(whole(101, { ...OWN, unavailable: "False" }));
  expect([world.asked, world.node("own")]).toMatchObject([[], { resourceVersion: "101", networkUnavailable: "False" }]);
  world.writes();
  await world.say("MODIFIED", metadata(103, { ...OWN })); // somebody else's
  await world.written(whole(102, OWN));
  expect(world.asked).toEqual(["own"]);
});

test("the own Node of another uid is read, whatever was written", async () => {
  const world = await open([whole(90, OWN)]);
  await world.written(whole(102, OWN));
  await world.say("DELETED", metadata(103, { ...OWN }));
  expect(world.node("own")).toBeUndefined();
  await world.say("ADDED", metadata(104, { ...OWN, uid: "u10", annotations: {} }));
  await world.answer(whole(104, { ...OWN, uid: "u10", podCIDR: "10.5.10.0/24" }));
  expect(world.node("own")).toMatchObject({ uid: "u10", podCidrs: ["10.5.10.0/24"] });
});

test("whole Nodes are taken as they are, own and other", async () => {
  const world = await open([whole(90, OWN)]);
  await world.say("ADDED", whole(101, A));
  await world.say("MODIFIED", whole(102, { ...OWN, unavailable: "True" }));
  await world.say("ADDED", metadata(103, { name: "b", uid: "u5" }));
  await world.say("MODIFIED", whole(104, { name: "b", uid: "u5", podCIDR: "10.5.5.0/24" }));
  expect(world.node()?.podCidrs).toEqual([A.podCIDR]);
  expect(world.node("own")?.networkUnavailable).toBe("True");
  await world.answer(whole(103, { name: "b", uid: "u5" }));
  expect([world.node("b")?.podCidrs, world.asked]).toEqual([["10.5.5.0/24"], ["b"]]);
});

test("another list makes all reads that were under way needless", async () => {
  const world = await open([whole(90, A)]);
  await world.say("MODIFIED", metadata(101, { uid: "u2" }));
  await world.say("ERROR", { kind: "Status", code: 410, message: "too old" });
  await Bun.sleep(20);
  expect([world.lists, world.node()?.uid]).toEqual([2, "u1"]);
  await world.answer(whole(101, { uid: "u2", podCIDR: "10.5.2.0/24" }));
  expect(world.node()?.uid).toBe("u1");
});

test("versions that begin again: what was written before says nothing, and events with low numbers count", async () => {
  const world = await open([whole(90, OWN), whole(91, A)]);
  await world.written(whole(5000, { ...OWN, unavailable: "False" }));
  await world.say("MODIFIED", metadata(5000, { ...OWN }));
  await world.restore([whole(90, OWN), whole(91, A)]);
  expect([world.lists, world.node("own")?.resourceVersion]).toEqual([2, "90"]);
  await world.say("MODIFIED", metadata(101, { ...OWN }));
  await world.answer(whole(101, { ...OWN, unavailable: "True" }));
  expect([world.asked, world.node("own")?.networkUnavailable]).toEqual([["own"], "True"]);
  await world.say("MODIFIED", metadata(102, ip("192.0.2.9")));
  expect(world.node()?.annotations["public-ip"]).toBe("192.0.2.9");
});
