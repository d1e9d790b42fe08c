// exec → device up, exec → subnet.env: vxlan, two nodes, embedded store. Beside it the same build of a program that
// only writes a file, seen by the same observer.

import { join } from "node:path";
import type { Bench } from "./bench.ts";
import { now } from "./counts.ts";
import { settle } from "./machine.ts";
import { BenchNode } from "./node.ts";
import type { Table } from "./table.ts";

export async function start(bench: Bench): Promise<readonly Table[]> {
  const hello: number[] = [];
  const device: number[] = [];
  const file: number[] = [];
  const stopped: number[] = [];
  await once(bench, { hello: [], device: [], file: [], stopped: [] }); // the executables come into the page cache
  for (let run = 0; run < bench.runs; run++) await once(bench, { hello, device, file, stopped });
  const calibration = "hello world, exec → file";
  return [
    {
      title: "Start (vxlan, 2 nodes, embedded store)",
      rows: [
        { name: calibration, unit: "ms", samples: hello },
        { name: "exec → device up", unit: "ms", samples: device, against: calibration },
        { name: "exec → subnet.env", unit: "ms", samples: file, against: calibration, goal: "≤ 60 ms" },
        { name: "SIGTERM → gone", unit: "ms", samples: stopped },
      ],
    },
  ];
}

type Samples = Readonly<Record<"hello" | "device" | "file" | "stopped", number[]>>;

async function once({ flanneld, hello, stores, signal }: Bench, samples: Samples): Promise<void> {
  using node = new BenchNode();
  await stores.copy(1, node.store, signal);
  await using observer = await node.observe();
  await settle();
  const greeted = await observer.expect({ file: "hello" });
  const begun = now();
  const child = Bun.spawn([hello, join(node.directory, "hello")]);
  samples.hello.push((await greeted.seen).at - begun);
  await child.exited;

  await settle();
  const up = await observer.expect({ up: true });
  const written = await observer.expect({ file: "subnet.env" });
  const daemon = node.start(flanneld);
  samples.device.push((await up.seen).at - daemon.startedAt);
  samples.file.push((await written.seen).at - daemon.startedAt);
  await daemon.idle();
  node.requirePeers(1);
  const told = now();
  await daemon[Symbol.asyncDispose]();
  samples.stopped.push(now() - told);
}
