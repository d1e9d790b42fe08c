// The packet loop's thread, but for two peers: when it is told of one of them it hangs, in code that never ends or in a call that does not return. Told of them at
// its start it does not.

import "../../src/packet_loop/worker.ts";
import type { ToLoop } from "../../src/packet_loop/options.ts";
import { pollFiles } from "../../src/sys/packet_calls.ts";

declare const self: Worker;

/** First address of 10.5.N.0/24, as an unsigned number. */
const firstOf = (n: number) => (10 << 24) + (5 << 16) + (n << 8);

const work = self.onmessage;
self.onmessage = (event: MessageEvent<ToLoop>) => {
  const told = event.data.kind === "peers" ? event.data.changes.set.map(({ subnet }) => subnet) : [];
  if (told.includes(firstOf(66))) for (;;);
  while (told.includes(firstOf(77))) pollFiles(0, 0, -1);
  work?.call(self, event);
};
