// One lease comes, changes, goes: from the writer's call to the kernel's notification. With 2 and with 5,000 peers,
// turn by turn in the same minutes, because what is wanted is a ratio: a change must cost what it costs, whatever the
// number of peers.

import { openRegistry } from "../src/subnet/open.ts";
import type { Registry } from "../src/subnet/registry.ts";
import type { Bench } from "./bench.ts";
import { type Expectation, each, now } from "./counts.ts";
import { changePeer, putPeer, removePeer } from "./leases.ts";
import { settle } from "./machine.ts";
import { BenchNode, type Daemon } from "./node.ts";
import type { Observer } from "./observer.ts";
import type { Row, Table } from "./table.ts";

const PEERS = [2, 5_000] as const;
/** Events are short: ten samples for one of the others. */
const EVENTS_PER_RUN = 10;
/** Between two events, so that the daemon is back at rest: longer than the echoes of the store's bell. */
const PAUSE_MS = 60;

const KINDS = ["put → route", "MAC changed → FDB entry and neighbour", "delete → route gone"] as const;
type Kind = (typeof KINDS)[number];

interface Place {
  readonly peers: number;
  readonly node: BenchNode;
  readonly observer: Observer;
  readonly daemon: Daemon;
  readonly registry: Registry;
  /** From the call of the write, and from its return. */
  readonly fromCall: Record<Kind, number[]>;
  readonly fromReturn: Record<Kind, number[]>;
  readonly writes: number[];
}

export async function events(bench: Bench): Promise<readonly Table[]> {
  await using stack = new AsyncDisposableStack();
  const places: Place[] = [];
  for (const peers of PEERS) places.push(await open(bench, peers, stack));
  await settle();
  const rounds = bench.runs * EVENTS_PER_RUN;
  bench.say(`events: ${rounds} rounds`);
  for (let round = -2; round < rounds; round++) {
    for (const place of places) await turn(place, bench.signal, round >= 0);
  }
  return [
    tableOf("Events, from the writer's call", places, "fromCall"),
    tableOf("… and from its return", places, "fromReturn"),
  ];
}

async function open(bench: Bench, peers: number, stack: AsyncDisposableStack): Promise<Place> {
  const node = stack.use(new BenchNode());
  await bench.stores.copy(peers, node.store, bench.signal);
  const observer = stack.use(await node.observe());
  const all = await observer.expect({ made: each(peers) });
  const daemon = stack.use(node.start(bench.flanneld));
  await all.seen;
  await daemon.idle();
  node.requirePeers(peers);
  const registry = stack.use(await openRegistry({ kind: "embedded", path: node.store }, bench.signal));
  const empty = (): Record<Kind, number[]> => ({
    "put → route": [],
    "MAC changed → FDB entry and neighbour": [],
    "delete → route gone": [],
  });
  return { peers, node, observer, daemon, registry, fromCall: empty(), fromReturn: empty(), writes: [] };
}

async function turn(place: Place, signal: AbortSignal, counts: boolean): Promise<void> {
  const { peers, registry } = place;
  const step = async (kind: Kind, expectation: Expectation, write: () => Promise<void>) => {
    await Bun.sleep(PAUSE_MS);
    const expected = await place.observer.expect(expectation);
    const called = now();
    await write();
    const returned = now();
    const { at } = await expected.seen;
    if (!counts) return;
    place.fromCall[kind].push(at - called);
    place.fromReturn[kind].push(at - returned);
    if (kind === "put → route") place.writes.push(returned - called);
  };
  await step("put → route", { made: { route: 1 } }, () => putPeer(registry, peers, signal));
  await step("MAC changed → FDB entry and neighbour", { made: { fdb: 1, neighbour: 1 } }, () =>
    changePeer(registry, peers, 2, signal),
  );
  await step("delete → route gone", { gone: { route: 1 } }, () => removePeer(registry, peers, signal));
}

function tableOf(title: string, places: readonly Place[], from: "fromCall" | "fromReturn"): Table {
  const [first, ...others] = places;
  const name = (kind: string, { peers }: Place) => `${kind}, ${peers.toLocaleString("en")} peers`;
  const rows = KINDS.flatMap((kind) => [
    ...places.map((place): Row => {
      const more = first && others.includes(place) ? { against: name(kind, first), goal: "≤ 1.5 ×" } : {};
      return { name: name(kind, place), unit: "ms", samples: place[from][kind], ...more };
    }),
  ]);
  const writes = places.map(
    (place): Row => ({ name: name("the put itself", place), unit: "ms", samples: place.writes }),
  );
  return { title, rows: [...rows, ...writes] };
}
