// The load of UDP measurements, as programs of their own in the pods:
//
//   bun load.ts receive                                   counts what comes to its ports, until it is silent
//   bun load.ts send ADDRESS SECONDS FLOWS BYTES [MOST]   as fast as it can; with MOST each datagram has a random size from BYTES to MOST
//   bun load.ts answer                                    sends everything back
//   bun load.ts ask ADDRESS SECONDS PARALLEL              so many questions under way, each asked again when its answer is here
//
// Each says "ready" when it is bound (receive, answer), and its result as one line of JSON at its end. Flows differ by their destination port and take turns
// at random, datagram by datagram: several flows' packets are mixed on the wire as several pods' would be.

import { Batch, openSocket, Poll, socketAddress } from "./datagrams.ts";
import { ANSWER_PORT, MAX_FLOWS, RECEIVE_PORT, type Received, type RoundTrips, type Sent } from "./load_result.ts";

/** Datagrams in one system call: the cost of the call no longer counts. */
const BATCH = 64;
/** Prepared batches, sent in turn: a few thousand random sizes are random enough. */
const BATCHES = 32;
/** The longest datagram without fragments on Ethernet. */
const ROOM_BYTES = 1_500;
const QUESTION_BYTES = 64;
/** Nobody has sent for so long after the first datagram: that was all. */
const SILENCE_MS = 400;
/** A question is lost. */
const LOST_MS = 200;
const FIRST_MS = 20_000;
const SAY = (line: string) => void process.stdout.write(`${line}\n`);

const [role, address = "", ...rest] = Bun.argv.slice(2);
const [seconds = 1, count = 1, bytes = 64, most = bytes] = rest.map(Number);

switch (role) {
  case "receive":
    SAY(JSON.stringify(receive()));
    break;
  case "send":
    SAY(JSON.stringify(send()));
    break;
  case "answer":
    answer();
    break;
  case "ask":
    SAY(JSON.stringify(ask()));
    break;
  default:
    throw new Error(`got ${role}, want receive, send, answer or ask`);
}

function receive(): Received {
  const sockets = Array.from({ length: MAX_FLOWS }, (_, i) => openSocket(RECEIVE_PORT + i));
  const poll = new Poll(sockets);
  const batch = new Batch(BATCH, ROOM_BYTES);
  SAY("ready");
  let [packets, first, last] = [0, 0, 0];
  while (poll.wait(packets === 0 ? FIRST_MS : SILENCE_MS) > 0) {
    for (const [i, fd] of sockets.entries()) {
      if (poll.isReady(i)) packets += batch.receive(fd);
    }
    last = performance.now();
    first ||= last;
  }
  return { packets, seconds: (last - first) / 1_000 };
}

function send(): Sent {
  const flows = Array.from({ length: count }, (_, i) => socketAddress({ address, port: RECEIVE_PORT + i }));
  const batches = Array.from({ length: BATCHES }, () => {
    const batch = new Batch(BATCH, ROOM_BYTES);
    for (let i = 0; i < BATCH; i++) {
      const flow = flows[Math.floor(Math.random() * flows.length)];
      if (flow) batch.put(i, flow, bytes + Math.floor(Math.random() * (most - bytes + 1)));
    }
    return batch;
  });
  const fd = openSocket(0);
  const end = performance.now() + seconds * 1_000;
  let packets = 0;
  while (performance.now() < end) for (const batch of batches) packets += Math.max(0, batch.send(fd));
  return { packets };
}

function answer(): never {
  const fd = openSocket(ANSWER_PORT);
  const poll = new Poll([fd]);
  const batch = new Batch(MAX_FLOWS, QUESTION_BYTES);
  SAY("ready");
  for (;;) {
    poll.wait(-1);
    // The headers that came hold the sender's address, and the length is the same: they can go back as they are.
    const got = batch.receive(fd);
    if (got > 0) batch.send(fd, got);
  }
}

function ask(): RoundTrips {
  const to = socketAddress({ address, port: ANSWER_PORT });
  const sockets = Array.from({ length: count }, () => openSocket(0));
  const question = new Batch(1, QUESTION_BYTES);
  question.put(0, to, QUESTION_BYTES);
  const answers = new Batch(1, QUESTION_BYTES);
  const poll = new Poll(sockets);
  for (const fd of sockets) question.send(fd);
  const begun = performance.now();
  const end = begun + seconds * 1_000;
  let [trips, lost] = [0, 0];
  while (performance.now() < end) {
    if (poll.wait(LOST_MS) === 0) {
      // Nothing under way came back: all of it is lost.
      lost += sockets.length;
      for (const fd of sockets) question.send(fd);
      continue;
    }
    for (const [i, fd] of sockets.entries()) {
      if (!poll.isReady(i) || answers.receive(fd) === 0) continue;
      trips++;
      question.send(fd);
    }
  }
  return { trips, lost, seconds: (performance.now() - begun) / 1_000 };
}
