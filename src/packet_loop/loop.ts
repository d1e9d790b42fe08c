// The packet loop: in both directions for as long as there is something, then a short spin, then sleep until there is something again.
//
// Sleeping and being woken costs some ten microseconds, about what an answer takes that is on its way already; so a loop whose last sleep was that short looks a few
// times more before it sleeps again. At rest it never does; it only wakes once a second to show that it lives.

import { createPacketMemory, type PacketMemory } from "../dataplane/memory.ts";
import { EAGAIN, EINTR } from "../sys/error.ts";
import { addressOf, pollFiles, readPacket, yieldProcessor } from "../sys/packet_calls.ts";
import { Arena } from "./arena.ts";
import { Egress } from "./egress.ts";
import { Ingress } from "./ingress.ts";
import { type LoopOptions, type PeerChanges, Shared } from "./options.ts";
import { PeerTable } from "./peer_table.ts";

/** For all that is taken from the arena. */
const MEMORY_BYTES = 3 << 20;

/** Milliseconds of looking before sleeping: at most as long as sleeping and waking would cost. */
const MAX_SPIN_MS = 0.05;
/** A sleep shorter than this could as well have been a spin. */
const SHORT_SLEEP_MS = 0.1;

const POLLFD_BYTES = 8;
const POLLIN = 1;
/** eventfd's counter. */
const BELL_BYTES = 8;

export class PacketLoop {
  readonly checksums: PacketMemory["kind"];
  readonly #arena: Arena;
  readonly #options: LoopOptions;
  readonly #peers = new PeerTable();
  readonly #egress: Egress;
  readonly #ingress: Ingress;
  /** Shared with the thread that rings the bell and watches over this one. */
  readonly #shared: Int32Array;
  #answered = 0;
  readonly #files: number;
  readonly #bell: number;
  #spins = false;

  constructor(options: LoopOptions, counters: Float64Array, shared: Int32Array) {
    const memory = createPacketMemory(MEMORY_BYTES, options.checksums);
    this.checksums = memory.kind;
    this.#arena = new Arena(memory, addressOf(memory.bytes));
    this.#options = options;
    this.#shared = shared;
    this.#egress = new Egress(this.#arena, options, this.#peers, counters);
    this.#ingress = new Ingress(this.#arena, options, this.#peers, counters);
    this.#bell = this.#arena.take(BELL_BYTES);
    const files = [options.tun, options.udp, options.bell];
    this.#files = this.#arena.take(POLLFD_BYTES * files.length);
    for (const [i, fd] of files.entries()) {
      memory.view.setInt32(this.#files + i * POLLFD_BYTES, fd, true);
      memory.view.setInt16(this.#files + i * POLLFD_BYTES + 4, POLLIN, true);
    }
  }

  change({ set, deleted }: PeerChanges): void {
    for (const { subnet, length } of deleted) this.#peers.delete(subnet, length);
    for (const route of set) this.#peers.set(route);
  }

  /** Works until the bell rings: 0, or the negative errno with which device or socket failed. */
  run(): number {
    const shared = this.#shared;
    for (;;) {
      Atomics.add(shared, Shared.turns, 1);
      if (Atomics.load(shared, Shared.rings) !== this.#answered) {
        this.#answered++;
        readPacket(this.#options.bell, this.#arena.address + this.#bell, BELL_BYTES);
        return 0;
      }
      const moved = this.#turn();
      if (moved < 0) return moved;
      if (moved > 0) continue;
      const spun = this.#spin();
      if (spun < 0) return spun;
      if (spun > 0) continue;
      const slept = performance.now();
      const ready = pollFiles(this.#arena.address + this.#files, 3, this.#options.longestSleepMs);
      if (ready < 0 && ready !== -EINTR && ready !== -EAGAIN) return ready;
      this.#spins = performance.now() - slept < SHORT_SLEEP_MS;
    }
  }

  #turn(): number {
    const received = this.#ingress.turn();
    if (received < 0) return received;
    const sent = this.#egress.turn();
    return sent < 0 ? sent : received + sent;
  }

  /** Looks for a while. What came, 0 for nothing. */
  #spin(): number {
    if (!this.#spins) return 0;
    const end = performance.now() + MAX_SPIN_MS;
    do {
      yieldProcessor();
      const moved = this.#turn();
      if (moved !== 0) return moved;
    } while (performance.now() < end && Atomics.load(this.#shared, Shared.rings) === this.#answered);
    return 0;
  }
}
