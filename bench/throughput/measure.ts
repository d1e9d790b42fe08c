// One measurement on one path: starts the load's programs in both pods, waits for their end, and makes figures of what they say.

import type { Program } from "../../test/e2e/program.ts";
import { readTimes } from "../machine.ts";
import { ETHERNET_MTU } from "./by_hand.ts";
import { cpuPerGigabyte, receivedByIperf3, type TcpReceived, udpValues } from "./figures.ts";
import { requireWire } from "./form.ts";
import { type Received, type RoundTrips, resultOf, type Sent } from "./load_result.ts";
import type { Measurement, RoundTripLoad, TcpLoad, UdpLoad, Values } from "./measurements.ts";
import type { Form } from "./paths.ts";
import type { Site } from "./site.ts";

/** Beyond the measurement's own time. */
const PATIENCE_MS = 30_000;
const LOAD = [process.execPath, `${import.meta.dir}/load.ts`];

export async function measure(site: Site, { load }: Measurement, form: Form, seconds: number): Promise<Values> {
  switch (load.kind) {
    case "tcp":
      return await tcp(site, load, form, seconds);
    case "udp":
      return await udp(site, load, seconds);
    case "round trips":
      return await roundTrips(site, load, seconds);
  }
}

async function tcp(site: Site, { streams }: TcpLoad, form: Form, seconds: number): Promise<Values> {
  const server = site.spawn(site.to, ["iperf3", "--server", "--one-off", "--forceflush"]);
  await server.says(/Server listening/);
  const options = ["--parallel", `${streams}`, "--time", `${seconds}`, "--interval", "0", "--json"];
  const counters = site.sent();
  const [times, daemons] = [readTimes(), site.daemonSeconds()];
  const client = site.spawn(site.from, ["iperf3", "--client", site.to.address, ...options]);
  const received: TcpReceived = receivedByIperf3(await end(client, "iperf3", seconds));
  const [timesAfter, daemonsAfter] = [readTimes(), site.daemonSeconds()];
  if (form === "wire") requireWire(counters, site.sent(), ETHERNET_MTU);
  await end(server, "iperf3's server", seconds);
  return {
    rate: received.bitsPerSecond / 1e9,
    cpu: cpuPerGigabyte(times, timesAfter, received.bytes),
    ...(site.hasDaemon && { daemon: (daemonsAfter - daemons) / (received.bytes / 1e9) }),
  };
}

async function udp(site: Site, { flows, bytes, most }: UdpLoad, seconds: number): Promise<Values> {
  const receiver = site.spawn(site.to, [...LOAD, "receive"]);
  await receiver.says(/ready/);
  const words = [site.to.address, seconds, flows, bytes, most].map(String);
  const sender = site.spawn(site.from, [...LOAD, "send", ...words]);
  const sent = resultOf<Sent>(await end(sender, "the sender", seconds));
  return udpValues(sent, resultOf<Received>(await end(receiver, "the receiver", seconds)));
}

async function roundTrips(site: Site, { parallel }: RoundTripLoad, seconds: number): Promise<Values> {
  const answerer = site.spawn(site.to, [...LOAD, "answer"]);
  try {
    await answerer.says(/ready/);
    const words = [site.to.address, seconds, parallel].map(String);
    const asker = site.spawn(site.from, [...LOAD, "ask", ...words]);
    const { trips, seconds: took } = resultOf<RoundTrips>(await end(asker, "the asker", seconds));
    if (trips === 0) throw new Error(`no answer from ${site.to.address}`);
    return { rate: trips / took / 1e3 };
  } finally {
    await answerer[Symbol.asyncDispose]();
  }
}

/** What the program said until its end. Waits without looking again and again, which would cost what is measured. */
async function end(program: Program, what: string, seconds: number): Promise<string> {
  const late = Promise.withResolvers<"late">();
  const timer = setTimeout(() => late.resolve("late"), seconds * 1_000 + PATIENCE_MS);
  try {
    const code = await Promise.race([program.child.exited, late.promise]);
    if (code === 0) return program.output;
    throw new Error(`${what}: ${code === "late" ? "no end" : `exit ${code}`}:\n${program.output.slice(-2_000)}`);
  } finally {
    clearTimeout(timer);
  }
}
