// The driver of packet loops and their peers. It opens device and socket, so that what cannot be opened fails as any operation does, and has a thread move the packets
// (packet_loop/worker.ts). A loop that ends by itself is an object that is gone: the reconciler has it made again. So is one that hangs, once its thread has been ended;
// where that cannot be, nobody else can have the device, and this process has to end.

import { addressBytes, addressNumber } from "../ip/address.ts";
import { prefixAddress, prefixLength } from "../ip/prefix.ts";
import { counterText, newCounters } from "../packet_loop/counters.ts";
import { type FromLoop, type LoopOptions, newShared, Shared, type ToLoop } from "../packet_loop/options.ts";
import type { LoopRoute } from "../packet_loop/peer_table.ts";
import type { LoopPeer, PacketLoop } from "../state/backend_object.ts";
import { keyOf, type ObjectKey, type ObjectKind, objectKey } from "../state/object.ts";
import type { Operation } from "../state/operation.ts";
import { printObject } from "../state/print.ts";
import { type DatagramSocket, openBell, openDatagramSocket, openPacketSender, ring } from "../sys/datagram.ts";
import { EADDRINUSE, EADDRNOTAVAIL, EBUSY, ENODEV, SysError } from "../sys/error.ts";
import { close } from "../sys/libc.ts";
import { inNamespace } from "../sys/netns.ts";
import { openTun, type TunDevice } from "../sys/tun.ts";
import { type Driver, type Outcome, Overtaken } from "./driver.ts";
import { endThread, LOOKS, Pulse } from "./loop_thread.ts";
import { Mirror } from "./mirror.ts";
import { featureText } from "./packet_loop_features.ts";

/** Bytes of each of the socket's buffers: a burst of some thousand packets while the loop waits for a processor. */
const BUFFER_BYTES = 8 << 20;
/** How long a loop that is told to end may take before its thread is ended, and how long that may take. */
const END_MS = 2_000;
/** How long a loop may stand still: a burst takes milliseconds, waiting for a processor on a machine that is far too busy perhaps a second. */
const HANGS_AFTER_MS = 10_000;
/** Of the time that a loop may stand still, it sleeps at most a tenth. */
const SLEEPS = 10;

export interface PacketLoopOptions {
  /** Path of the network namespace to work in; this one by default. */
  readonly namespace?: string;
  /** A loop works; what it can do and what not, when that is news. */
  readonly onStart?: (text: string) => void;
  /** A loop ended that nobody ended. */
  readonly onDeath?: (text: string) => void;
  /** A loop hangs, and is being ended. */
  readonly onHang?: (text: string) => void;
  /** A loop's thread cannot be ended: until this process ends nobody else can have its device. */
  readonly onStuck?: (text: string) => void;
  /** Milliseconds that a loop may stand still. */
  readonly hangsAfterMs?: number;
  /** The thread's entry point; that of the packet loop by default. */
  readonly worker?: string;
}

/** A loop at work. */
interface Running {
  readonly object: PacketLoop;
  readonly worker: Worker;
  readonly files: readonly number[];
  readonly bell: number;
  readonly counters: Float64Array<SharedArrayBuffer>;
  readonly shared: Int32Array<SharedArrayBuffer>;
  readonly ended: Promise<void>;
  /** Once it has started: the number of its thread, and what looks after it. */
  thread?: number;
  watch?: ReturnType<typeof setInterval>;
}

export class PacketLoopDriver implements Driver {
  readonly kinds: readonly ObjectKind[] = ["packetloop", "looppeer"];
  readonly mirror = new Mirror();
  readonly inDoubt = false;
  readonly #options: PacketLoopOptions;
  readonly #running = new Map<ObjectKey, Running>();
  readonly #ending = new Map<ObjectKey, Promise<void>>();
  /** All that are wanted, for loops that come later. */
  readonly #peers = new Map<ObjectKey, LoopPeer>();
  #told = "";
  #stuck: Error | undefined;
  #disposed = false;
  #wake: () => void = () => {};

  constructor(options: PacketLoopOptions = {}) {
    this.#options = options;
  }

  watch(wake: () => void): void {
    this.#wake = wake;
  }

  async refresh(): Promise<void> {}

  /** What each loop has counted, for people. */
  get details(): readonly string[] {
    return [...this.#running].map(([key, { counters }]) => `${key}: ${counterText(counters)}`);
  }

  /** The loop will notice too, but perhaps only after the device is there again, which it has not. */
  linkGone(dev: string): void {
    const key = objectKey.packetloop(dev);
    if (!this.#running.has(key)) return;
    void this.#end(key);
    this.mirror.lose("packetloop", key);
    this.#wake();
  }

  async apply(operations: readonly Operation[]): Promise<readonly Outcome[]> {
    const outcomes: Outcome[] = [];
    for (const operation of operations) {
      if (operation.object.kind === "packetloop") outcomes.push(await this.#applyLoop(operation, operation.object));
    }
    if (operations[0]?.object.kind === "looppeer") return this.#applyPeers(operations);
    return outcomes;
  }

  async #applyLoop({ key, verb }: Operation, object: PacketLoop): Promise<Outcome> {
    await this.#end(key);
    if (this.#stuck) return this.#stuck;
    this.mirror.confirm(key, undefined);
    if (verb === "delete") return undefined;
    try {
      await this.#start(key, object);
    } catch (error) {
      const text = `cannot start the ${printObject(object)}: ${error instanceof Error ? error.message : error}`;
      if (!(error instanceof SysError)) return new Error(text);
      return error.errno === ENODEV ? new Overtaken(text) : new Error(`${text}${advice(error.errno, object)}`);
    }
    if (!this.#running.has(key)) return new Overtaken(`the ${printObject(object)} ended as soon as it had begun`);
    this.mirror.confirm(key, object);
    return undefined;
  }

  async #start(key: ObjectKey, object: PacketLoop): Promise<void> {
    const { namespace, worker: entry = workerUrl(), hangsAfterMs = HANGS_AFTER_MS } = this.#options;
    const open = () => openFiles(object);
    const { tun, socket, icmp } = namespace === undefined ? open() : inNamespace(namespace, open);
    const bell = openBell();
    const files = [tun.fd, socket.fd, bell, ...(icmp === undefined ? [] : [icmp])];
    const counters = newCounters();
    const shared = newShared();
    const worker = new Worker(entry);
    worker.unref();
    const { promise: ended, resolve } = Promise.withResolvers<void>();
    const { promise: started, resolve: hasStarted, reject } = Promise.withResolvers<FromLoop & { kind: "started" }>();
    const over = (reason: string | undefined) => {
      reject(new Error(reason ?? "its thread ended"));
      resolve();
      if (this.#running.get(key)?.worker === worker) this.#died(key, reason ?? "its thread ended");
      worker.terminate();
    };
    worker.onmessage = ({ data }: MessageEvent<FromLoop>) => {
      if (data.kind === "started") hasStarted(data);
      else over(data.reason);
    };
    worker.onerror = (event) => over(event.message);
    worker.addEventListener("close", () => over(undefined));
    const running: Running = { object, worker, files, bell, counters, shared, ended };
    this.#running.set(key, running);
    const peers = [...this.#peers.values()].filter(({ dev }) => dev === object.dev).map(routeOf);
    const message: ToLoop = {
      kind: "start",
      options: {
        tun: tun.fd,
        udp: socket.fd,
        bell,
        icmp: icmp ?? -1,
        ownAddress: numberOf(prefixAddress(object.subnet)),
        network: { first: numberOf(prefixAddress(object.network)), length: prefixLength(object.network) },
        mtu: object.mtu,
        strict: object.strict,
        longestSleepMs: hangsAfterMs / SLEEPS,
        takes: deviceTakes(tun),
        sendsSegments: socket.segments,
        sendsMany: socket.sendsMany,
        receivesMany: socket.receivesMany,
      },
      peers,
      counters,
      shared,
    };
    worker.postMessage(message);
    const { checksums, thread } = await started;
    this.#watch(key, running, thread);
    const text = featureText({ tun, socket, sendsErrors: icmp !== undefined, checksums });
    this.#tell(`${printObject(object)}: ${text}`);
  }

  #tell(text: string): void {
    if (text !== this.#told) this.#options.onStart?.(text);
    this.#told = text;
  }

  #watch(key: ObjectKey, running: Running, thread: number): void {
    if (this.#running.get(key) !== running) return; // it has ended as soon as it had begun
    const { hangsAfterMs = HANGS_AFTER_MS } = this.#options;
    const pulse = new Pulse(() => Atomics.load(running.shared, Shared.turns));
    running.thread = thread;
    running.watch = setInterval(() => {
      if (pulse.look()) this.#hangs(key, `has not moved for ${hangsAfterMs / 1_000} s`);
    }, hangsAfterMs / LOOKS);
    running.watch.unref();
  }

  #hangs(key: ObjectKey, how: string): void {
    const running = this.#take(key);
    if (!running) return;
    this.#options.onHang?.(`${printObject(running.object)} hangs: it ${how}; ending it and starting it again`);
    this.#ending.set(key, this.#kill(running));
    this.mirror.lose("packetloop", key);
    this.#wake();
  }

  /** Whoever takes a loop ends it. */
  #take(key: ObjectKey): Running | undefined {
    const running = this.#running.get(key);
    this.#running.delete(key);
    clearInterval(running?.watch);
    return running;
  }

  #died(key: ObjectKey, reason: string): void {
    const running = this.#take(key);
    if (!running) return;
    for (const fd of running.files) close(fd);
    if (this.#disposed) return;
    this.mirror.lose("packetloop", key);
    this.#options.onDeath?.(`${printObject(running.object)} ended: ${reason}; starting it again`);
    this.#wake();
  }

  /** Resolves when nobody has device and socket any more. */
  async #end(key: ObjectKey): Promise<void> {
    const running = this.#take(key);
    if (running) this.#ending.set(key, this.#finish(running));
    await this.#ending.get(key);
    this.#ending.delete(key);
  }

  async #finish(running: Running): Promise<void> {
    send(running, { kind: "stop" });
    const ended = await Promise.race([running.ended.then(() => true), Bun.sleep(END_MS)]);
    if (!ended) return await this.#kill(running);
    for (const fd of running.files) close(fd);
  }

  /** Files are closed only under a thread that is gone: for another it would be somebody else's files that have their numbers next. One that never began has none. */
  async #kill({ worker, thread, object, files }: Running): Promise<void> {
    if (thread === undefined) worker.terminate();
    if (thread === undefined || (await endThread(worker, thread, END_MS))) {
      for (const fd of files) close(fd);
      return;
    }
    const text =
      `cannot end the thread of the ${printObject(object)}: it is still there after ${END_MS / 1_000} s, and with it ${object.dev} is in use until flanneld ` +
      "has ended and is started again";
    this.#stuck = new Error(text);
    this.#options.onStuck?.(text);
  }

  #applyPeers(operations: readonly Operation[]): readonly Outcome[] {
    const changes = new Map<string, { set: LoopRoute[]; deleted: LoopRoute[] }>();
    for (const { key, verb, object } of operations) {
      if (object.kind !== "looppeer") continue;
      const ofLoop = changes.get(object.dev) ?? { set: [], deleted: [] };
      changes.set(object.dev, ofLoop);
      if (verb === "delete") {
        this.#peers.delete(key);
        ofLoop.deleted.push(routeOf(object));
        this.mirror.confirm(key, undefined);
      } else {
        this.#peers.set(key, object);
        ofLoop.set.push(routeOf(object));
        this.mirror.confirm(keyOf(object), object);
      }
    }
    for (const [dev, ofLoop] of changes) {
      const running = this.#running.get(objectKey.packetloop(dev));
      if (running) send(running, { kind: "peers", changes: ofLoop });
    }
    return operations.map(() => undefined);
  }

  /** The threads end by themselves, a moment later. */
  [Symbol.dispose](): void {
    this.#disposed = true;
    for (const running of this.#running.values()) {
      clearInterval(running.watch);
      send(running, { kind: "stop" });
      void running.ended.then(() => running.files.forEach((fd) => void close(fd)));
    }
    this.#running.clear();
  }
}

function send({ worker, shared, bell }: Running, message: ToLoop): void {
  worker.postMessage(message);
  Atomics.add(shared, Shared.rings, 1);
  ring(bell);
}

/** The entry point as the build names it; from the sources, the file. */
function workerUrl(): string {
  const built = import.meta.url.includes("/$bunfs/");
  return built ? "./packet_loop/worker.ts" : new URL("../packet_loop/worker.ts", import.meta.url).href;
}

function openFiles({ dev, local, port }: PacketLoop): {
  readonly tun: TunDevice;
  readonly socket: DatagramSocket;
  readonly icmp: number | undefined;
} {
  const opened: number[] = [];
  try {
    const tun = openTun(dev);
    opened.push(tun.fd);
    const socket = openDatagramSocket(addressBytes(local), port, BUFFER_BYTES, `udp ${local}:${port}`);
    opened.push(socket.fd);
    return { tun, socket, icmp: openPacketSender("for ICMP errors") };
  } catch (error) {
    for (const fd of opened) close(fd);
    throw error;
  }
}

function routeOf({ subnet, endpoint }: LoopPeer): LoopRoute {
  return {
    subnet: numberOf(prefixAddress(subnet)),
    length: prefixLength(subnet),
    address: numberOf(endpoint.address),
    port: endpoint.port,
  };
}

function numberOf(address: Parameters<typeof addressNumber>[0]): number {
  return Number(addressNumber(address));
}

/** TCP in large packets is written wherever there is a header to tell of it, UDP only to a kernel that also gives it. */
function deviceTakes({ header, offload }: TunDevice): LoopOptions["takes"] {
  if (!header) return "packets";
  return offload === "tcp and udp" ? "tcp and udp" : "tcp";
}

function advice(errno: number, { dev, local, port }: PacketLoop): string {
  switch (errno) {
    case EADDRINUSE:
      return `; another program has UDP port ${port}: see ss -lunp, or set Backend.Port`;
    case EADDRNOTAVAIL:
      return `; no interface has the address ${local}`;
    case EBUSY:
      return `; another program has ${dev} open: is another flanneld running?`;
    default:
      return "";
  }
}
