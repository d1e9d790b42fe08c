import { describe, expect, test } from "bun:test";
import { type Agreed, COPY_TIMING, type Decision, decide, type Held, type Side, type Step } from "./reconcile.ts";

const NOW = 1_800_000_000_000;
const HOUR = 3_600_000;
const MINUTE = 60_000;

const X = '{"PublicIP":"192.0.2.1","BackendType":"vxlan","BackendData":{"VtepMAC":"5e:00:00:00:00:01"}}';
const X2 =
  '{"PublicIP":"192.0.2.1","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VtepMAC":"5e:00:00:00:00:02"}}';
const Y = '{"PublicIP":"192.0.2.2","BackendType":"vxlan","BackendData":{"VtepMAC":"5e:00:00:00:00:03"}}';

function lease(value: string, left: number | undefined): Held {
  return { value, reserved: false, endsAt: left === undefined ? undefined : NOW + left };
}

function reservation(value: string): Held {
  return { value, reserved: true, endsAt: undefined };
}

function agreed(value: string, owner: Side, copyLeft = 20 * HOUR - MINUTE): Agreed {
  return { value, reserved: false, owner, copyEndsAt: NOW + copyLeft };
}

function agreedReserved(value: string, owner: Side = "to"): Agreed {
  return { value, reserved: true, owner, copyEndsAt: undefined };
}

/** `create X on to, 1439 min`, in the words of the tables below. */
function told({ step, problem }: Decision): string {
  if (problem !== undefined) return "problem";
  if (!step) return "nothing";
  const name = (text: string) => ({ [X]: "X", [X2]: "X2", [Y]: "Y" })[text] ?? "?";
  const left = (end: number | undefined) =>
    end === undefined ? "for ever" : `${Math.round((end - NOW) / MINUTE)} min`;
  const end = (wanted: Exclude<Step, { kind: "remove" }>) => left(wanted.endsAt);
  switch (step.kind) {
    case "remove":
      return `remove on ${step.on}`;
    case "renew":
      return `renew on ${step.on}, ${end(step)}`;
    default:
      return `${step.kind} ${name(step.value)} on ${step.on}, ${end(step)}`;
  }
}

interface Row {
  readonly what: string;
  readonly from?: Held;
  readonly to?: Held;
  readonly agreed?: Agreed;
  readonly step: string;
  readonly owner?: Side | "forgotten";
}

const ROWS: readonly Row[] = [
  // One side alone.
  {
    what: "a new lease is copied with less time",
    from: lease(X, 24 * HOUR),
    step: "create X on to, 1439 min",
    owner: "from",
  },
  { what: "so is one of the new side", to: lease(X, 24 * HOUR), step: "create X on from, 1439 min", owner: "to" },
  { what: "of what little is left, a tenth is kept back", from: lease(X, 5 * MINUTE), step: "create X on to, 5 min" },
  { what: "what ends in seconds is left to end", from: lease(X, 9_000), step: "nothing" },
  { what: "an end not yet known is asked for first", from: lease(X, undefined), step: "nothing" },
  { what: "a reservation is copied as one", from: reservation(X), step: "create X on to, for ever" },
  {
    what: "an origin that is gone takes its copy along",
    to: lease(X, 19 * HOUR),
    agreed: agreed(X, "from"),
    step: "remove on to",
    owner: "forgotten",
  },
  {
    what: "not before it is known that no node renewed the copy",
    to: lease(X, undefined),
    agreed: agreed(X, "from"),
    step: "nothing",
    owner: "from",
  },
  {
    what: "a copy that its node renewed meanwhile is the origin now",
    to: lease(X, 24 * HOUR),
    agreed: agreed(X, "from"),
    step: "create X on from, 1439 min",
    owner: "to",
  },
  {
    what: "so is one that its node wrote anew",
    to: lease(X2, 24 * HOUR),
    agreed: agreed(X, "from"),
    step: "create X2 on from, 1439 min",
    owner: "to",
  },
  {
    what: "a copy that is gone is made again",
    from: lease(X, 20 * HOUR),
    agreed: agreed(X, "from"),
    step: "create X on to, 1199 min",
    owner: "from",
  },
  {
    what: "a reservation taken back on its side goes on the other",
    from: reservation(X),
    agreed: agreedReserved(X, "to"),
    step: "remove on from",
    owner: "forgotten",
  },
  {
    what: "and the other way round",
    from: reservation(X),
    agreed: agreedReserved(X, "from"),
    step: "remove on from",
    owner: "forgotten",
  },
  { what: "both gone", agreed: agreed(X, "from"), step: "nothing", owner: "forgotten" },
  // The same on both.
  {
    what: "in step",
    from: lease(X, 20 * HOUR),
    to: lease(X, 20 * HOUR - MINUTE),
    agreed: agreed(X, "from"),
    step: "nothing",
    owner: "from",
  },
  {
    what: "in step at a restart: the later end is the origin's",
    from: lease(X, 20 * HOUR),
    to: lease(X, 20 * HOUR - MINUTE),
    step: "nothing",
    owner: "from",
  },
  {
    what: "a renewed origin renews its copy",
    from: lease(X, 24 * HOUR),
    to: lease(X, 1 * HOUR),
    agreed: agreed(X, "from", HOUR),
    step: "renew on to, 1439 min",
    owner: "from",
  },
  {
    what: "a copy that its node renewed is the origin now",
    from: lease(X, 20 * HOUR),
    to: lease(X, 24 * HOUR),
    agreed: agreed(X, "from"),
    step: "renew on from, 1439 min",
    owner: "to",
  },
  {
    what: "even if both were renewed in one second",
    from: lease(X, 24 * HOUR),
    to: lease(X, 24 * HOUR),
    agreed: agreed(X, "from"),
    step: "nothing",
    owner: "to",
  },
  {
    what: "a node that moved just after it had renewed stays moved, though both sides end almost together",
    from: lease(X, 24 * HOUR - 5_000),
    to: lease(X, 24 * HOUR),
    agreed: { value: X, reserved: false, owner: "to", copyEndsAt: NOW + 24 * HOUR - 5_000 },
    step: "nothing",
    owner: "to",
  },
  {
    what: "a copy that another migration renewed after its origin is still one",
    from: lease(X, 24 * HOUR),
    to: lease(X, 24 * HOUR - MINUTE),
    agreed: agreed(X, "from", HOUR),
    step: "nothing",
    owner: "from",
  },
  {
    what: "a move right after a renewal, seen by a restarted migration",
    from: lease(X, 24 * HOUR - 5_000),
    to: lease(X, 24 * HOUR),
    step: "nothing",
    owner: "to",
  },
  { what: "reservations need no renewal", from: reservation(X), to: reservation(X), step: "nothing", owner: "to" },
  {
    what: "unknown ends change nothing",
    from: lease(X, undefined),
    to: lease(X, 5 * HOUR),
    agreed: agreed(X, "from"),
    step: "nothing",
    owner: "from",
  },
  // They differ.
  {
    what: "an origin's change is copied",
    from: lease(X2, 24 * HOUR),
    to: lease(X, 19 * HOUR),
    agreed: agreed(X, "from"),
    step: "replace X2 on to, 1439 min",
    owner: "from",
  },
  {
    what: "a node that moved writes into its copy, and the old side follows",
    from: lease(X, 20 * HOUR),
    to: lease(X2, 24 * HOUR),
    agreed: agreed(X, "from"),
    step: "replace X2 on from, 1439 min",
    owner: "to",
  },
  {
    what: "without memory the later end of one node's has the last word",
    from: lease(X, 20 * HOUR),
    to: lease(X2, 19 * HOUR),
    step: "replace X on to, 1199 min",
    owner: "from",
  },
  {
    what: "a subnet that passed to another node on its own side",
    from: lease(Y, 24 * HOUR),
    to: lease(X, 19 * HOUR),
    agreed: agreed(X, "from"),
    step: "replace Y on to, 1439 min",
    owner: "from",
  },
  {
    what: "an intruder on the copy's side has to go",
    from: lease(X, 20 * HOUR),
    to: lease(Y, 24 * HOUR),
    agreed: agreed(X, "from"),
    step: "evict X on to, 1199 min",
    owner: "from",
  },
  {
    what: "of two that raced, the new side's stays",
    from: lease(X, 24 * HOUR),
    to: lease(Y, 24 * HOUR),
    step: "evict Y on from, 1439 min",
    owner: "to",
  },
  {
    what: "but a reservation beats a lease",
    from: reservation(X),
    to: lease(Y, 24 * HOUR),
    step: "evict X on to, for ever",
    owner: "from",
  },
  {
    what: "two reservations are for the operator",
    from: reservation(X),
    to: reservation(Y),
    step: "problem",
    owner: "forgotten",
  },
  {
    what: "a reservation given to another node is copied",
    from: reservation(Y),
    to: reservation(X),
    agreed: agreedReserved(X),
    step: "replace Y on to, for ever",
    owner: "from",
  },
  {
    what: "a lease that was made a reservation",
    from: reservation(X),
    to: lease(X, 19 * HOUR),
    agreed: agreed(X, "from"),
    step: "replace X on to, for ever",
    owner: "from",
  },
  {
    what: "a reservation that got an end again",
    from: lease(X, 24 * HOUR),
    to: reservation(X),
    agreed: agreedReserved(X),
    step: "replace X on to, 1439 min",
    owner: "from",
  },
  {
    what: "which of the two it was is not known: it stays reserved",
    from: lease(X, 24 * HOUR),
    to: reservation(X),
    step: "replace X on from, for ever",
    owner: "to",
  },
  {
    what: "values that are no lease: the new side's stays",
    from: lease("wat", 24 * HOUR),
    to: lease(X, 24 * HOUR),
    step: "evict X on from, 1439 min",
  },
];

describe("decide", () => {
  test.each(ROWS.map((row) => [row.what, row] as const))("%s", (_, row) => {
    const decision = decide({ from: row.from, to: row.to }, row.agreed, COPY_TIMING, NOW);
    expect(told(decision)).toBe(row.step);
    if (row.owner !== undefined) expect(decision.agreed?.owner ?? "forgotten").toBe(row.owner);
  });

  test("decide: no step lets an entry end later than what is on the other side", () => {
    for (const { from, to, agreed } of ROWS) {
      const { step } = decide({ from, to }, agreed, COPY_TIMING, NOW);
      if (!step || step.kind === "remove" || step.endsAt === undefined) continue;
      const origin = step.on === "to" ? from : to;
      expect(step.endsAt).toBeLessThan(origin?.endsAt ?? 0);
    }
  });
});
