// The thread of the packet loop. While the loop runs, its thread takes no messages: so each message is followed by a ring of the bell, which ends the loop; the message
// is then delivered, done, and the loop goes on. There is one ring for each message, also when several come at once.

import { errnoName, errnoText } from "../sys/error.ts";
import { threadId } from "../sys/thread.ts";
import { PacketLoop } from "./loop.ts";
import type { FromLoop, ToLoop } from "./options.ts";

declare const self: Worker;

let loop: PacketLoop | undefined;

function tell(message: FromLoop): void {
  self.postMessage(message);
}

function end(reason: string | undefined): void {
  loop = undefined;
  tell({ kind: "ended", reason });
  self.onmessage = null;
}

self.onmessage = ({ data }: MessageEvent<ToLoop>) => {
  switch (data.kind) {
    case "start":
      loop = new PacketLoop(data.options, data.counters, data.shared);
      loop.change({ set: data.peers, deleted: [] });
      tell({ kind: "started", checksums: loop.checksums, thread: threadId() });
      break;
    case "peers":
      loop?.change(data.changes);
      break;
    case "stop":
      end(undefined);
      return;
  }
  const outcome = loop?.run() ?? 0;
  if (outcome < 0) end(`${errnoName(-outcome)} (${errnoText(-outcome)})`);
};
