// Where the packet loop sends packets to: the peer of an inner destination, by the longest prefix. One hash table for each length of prefix, since most
// networks have one length only; and the last answer among the longest, since packets come in bursts.

export interface LoopRoute {
  /** First address of the subnet, as an unsigned number, and bits of its prefix. */
  readonly subnet: number;
  readonly length: number;
  /** Where its packets go: address as an unsigned number, and UDP port. */
  readonly address: number;
  readonly port: number;
}

/** Equal to no unsigned number. */
const NO_SUBNET = -1;

interface OneLength {
  readonly length: number;
  readonly mask: number;
  /** Subnet → number of the peer. */
  readonly peers: Map<number, number>;
}

export class PeerTable {
  /** By the number of the peer. */
  readonly address: number[] = [];
  readonly port: number[] = [];
  readonly #free: number[] = [];
  /** Longest prefix first. */
  #lengths: readonly OneLength[] = [];
  /** How many peers have an address. */
  readonly #senders = new Map<number, number>();
  #longestMask = 0;
  #lastSubnet = NO_SUBNET;
  #lastPeer = -1;

  get size(): number {
    return this.#lengths.reduce((sum, { peers }) => sum + peers.size, 0);
  }

  set({ subnet, length, address, port }: LoopRoute): void {
    this.delete(subnet, length);
    const number = this.#free.pop() ?? this.address.length;
    this.address[number] = address;
    this.port[number] = port;
    this.#ofLength(length).peers.set(subnet, number);
    this.#senders.set(address, (this.#senders.get(address) ?? 0) + 1);
  }

  delete(subnet: number, length: number): void {
    this.#lastSubnet = NO_SUBNET;
    const one = this.#lengths.find((each) => each.length === length);
    const number = one?.peers.get(subnet);
    if (!one || number === undefined) return;
    one.peers.delete(subnet);
    if (one.peers.size === 0) this.#setLengths(this.#lengths.filter((each) => each !== one));
    this.#free.push(number);
    const address = this.address[number] ?? 0;
    const others = (this.#senders.get(address) ?? 1) - 1;
    if (others === 0) this.#senders.delete(address);
    else this.#senders.set(address, others);
  }

  /** The number of the peer that has `address` (unsigned), -1 when none has. */
  find(address: number): number {
    if ((address & this.#longestMask) >>> 0 === this.#lastSubnet) return this.#lastPeer;
    for (const { mask, peers } of this.#lengths) {
      const subnet = (address & mask) >>> 0;
      const peer = peers.get(subnet);
      if (peer === undefined) continue;
      if (mask === this.#longestMask) {
        this.#lastSubnet = subnet;
        this.#lastPeer = peer;
      }
      return peer;
    }
    return -1;
  }

  /** Whether some peer has this (outer) address. */
  isSender(address: number): boolean {
    return this.#senders.has(address);
  }

  #ofLength(length: number): OneLength {
    const found = this.#lengths.find((each) => each.length === length);
    if (found) return found;
    const made = { length, mask: maskOf(length), peers: new Map<number, number>() };
    this.#setLengths([...this.#lengths, made].sort((a, b) => b.length - a.length));
    return made;
  }

  #setLengths(lengths: readonly OneLength[]): void {
    this.#lengths = lengths;
    this.#longestMask = lengths[0]?.mask ?? 0;
  }
}

/** As an unsigned number. */
export function maskOf(length: number): number {
  return length === 0 ? 0 : (0xffff_ffff << (32 - length)) >>> 0;
}
