import { expect, test } from "bun:test";
import { ratioOf } from "../table.ts";
import { type Asked, ratios, Samples, tablesOf } from "./samples.ts";

const ASKED: Asked = {
  forms: ["lab", "wire"],
  measurements: ["tcp1", "mix"],
  paths: ["underlay", "vxlan", "upstream-udp", "udp"],
};

function samples(): Samples {
  const noted = new Samples();
  for (const form of ASKED.forms) {
    const scale = form === "lab" ? 1 : 0.5;
    for (const round of [1, 2, 3]) {
      const tcp = { form, measurement: "tcp1" } as const;
      noted.note({ ...tcp, path: "underlay" }, { rate: 10 * round * scale, cpu: 1 });
      noted.note({ ...tcp, path: "vxlan" }, { rate: 8 * round * scale, cpu: 2, daemon: 0 });
      noted.note({ ...tcp, path: "upstream-udp" }, { rate: round * scale, cpu: 20, daemon: 15 });
      noted.note({ ...tcp, path: "udp" }, { rate: 6 * round * scale, cpu: 3, daemon: 1 });
      for (const [i, path] of ASKED.paths.entries()) {
        noted.note({ form, measurement: "mix", path }, { rate: 100 * (i + 1), lost: i });
      }
    }
  }
  return noted;
}

test("tablesOf: a table for each measurement and form, the underlay beside each path", () => {
  const tables = tablesOf(samples(), ASKED);
  expect(tables.map(({ title }) => title)).toEqual([
    "Throughput, lab: TCP, 1 stream",
    "Throughput, wire: TCP, 1 stream",
    "Throughput, lab: UDP, 16 flows of 64 to 1,400 B mixed, received",
    "Throughput, wire: UDP, 16 flows of 64 to 1,400 B mixed, received",
    "Throughput: ratios round by round",
  ]);
  const [tcp, , mix] = tables;
  expect(tcp?.rows.map(({ name }) => name)).toEqual([
    "underlay",
    "vxlan",
    "upstream-udp",
    "udp",
    "underlay: CPU of the machine",
    "vxlan: CPU of the machine",
    "upstream-udp: CPU of the machine",
    "udp: CPU of the machine",
    "vxlan: CPU of both daemons",
    "upstream-udp: CPU of both daemons",
    "udp: CPU of both daemons",
  ]);
  const vxlan = tcp?.rows[1];
  expect(vxlan).toEqual({ name: "vxlan", unit: "Gbit/s", samples: [8, 16, 24], against: "underlay" });
  expect(vxlan && ratioOf(vxlan, tcp?.rows ?? [])).toBeCloseTo(0.8);
  expect(mix?.rows.at(-1)).toEqual({ name: "udp: lost", unit: "%", samples: [3, 3, 3] });
});

test("tablesOf: goals are ratios within a round, only of what was measured", () => {
  const goals = tablesOf(samples(), ASKED).at(-1)?.rows ?? [];
  expect(goals).toEqual([
    { name: "udp / vxlan: tcp1, lab", unit: "×", samples: [0.75, 0.75, 0.75], goal: "≥ 0.6 ×" },
    { name: "udp / upstream-udp: tcp1, wire", unit: "×", samples: [6, 6, 6], goal: "≥ 2.5 ×" },
    { name: "udp / upstream-udp: mix, lab", unit: "×", samples: [4 / 3, 4 / 3, 4 / 3], goal: "≥ 2 ×" },
    { name: "udp / upstream-udp: mix, wire", unit: "×", samples: [4 / 3, 4 / 3, 4 / 3], goal: "≥ 2 ×" },
    { name: "udp / vxlan: CPU per GB of tcp1, lab", unit: "×", samples: [1.5, 1.5, 1.5], goal: "≤ 2 ×" },
    { name: "udp / vxlan: CPU per GB of tcp1, wire", unit: "×", samples: [1.5, 1.5, 1.5], goal: "≤ 2 ×" },
  ]);
});

test("tablesOf: without another path there is nothing to compare", () => {
  const asked: Asked = { forms: ["lab"], measurements: ["tcp1"], paths: ["vxlan"] };
  const tables = tablesOf(samples(), asked);
  expect(tables).toHaveLength(1);
  expect(tables[0]?.rows[0]).toEqual({ name: "vxlan", unit: "Gbit/s", samples: [8, 16, 24] });
});

test("ratios: a round that one of both lacks is left out", () => {
  expect(ratios([2, 9, 5], [1, 3])).toEqual([2, 3]);
});
