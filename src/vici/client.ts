// A connection to charon's VICI socket: requests one after another, and events. What charon answers with success = no is thrown with its own words; a
// connection that ends, ends with charon, so that `onClose` is how its death is heard of.

import type { Section } from "./message.ts";
import { eventPacket, PacketReader, type Received, requestPacket } from "./packet.ts";

/** charon said no, or nothing at all. */
export class ViciError extends Error {
  constructor(what: string) {
    super(what);
    this.name = "ViciError";
  }
}

/** Of one answer. charon takes commands one after another; thousands of connections are listed within a second. */
const ANSWER_TIMEOUT_MS = 30_000;

export interface ViciEvents {
  /** Events asked for by `listen`. */
  onEvent(name: string, message: Section): void;
  onClose(): void;
}

interface Waiting {
  readonly what: string;
  readonly resolve: (received: Received) => void;
  readonly reject: (error: Error) => void;
}

export class ViciClient implements Disposable {
  readonly #events: ViciEvents;
  readonly #reader = new PacketReader();
  /** What is being listed, by the name of its events. */
  readonly #lists = new Map<string, Section[]>();
  #socket: Bun.Socket<undefined> | undefined;
  #waiting: Waiting | undefined;
  /** Exchanges go one after another. */
  #last: Promise<unknown> = Promise.resolve();
  #unsent: Uint8Array = new Uint8Array();
  #closed = false;

  private constructor(events: ViciEvents) {
    this.#events = events;
  }

  /** Throws what connect(2) says. */
  static async connect(path: string, events: ViciEvents): Promise<ViciClient> {
    const client = new ViciClient(events);
    client.#socket = await Bun.connect<undefined>({
      unix: path,
      socket: {
        data: (_, bytes) => client.#receive(bytes),
        drain: () => client.#flush(),
        close: () => client.#close(),
        error: () => client.#close(),
      },
    });
    return client;
  }

  /** Throws ViciError. `what`: as errors name it, without anything secret. */
  async request(command: string, message: Section = {}, what = command): Promise<Section> {
    return await this.#inTurn(() => this.#command(command, message, what));
  }

  /** A command that answers by events: all of their messages. */
  async list(command: string, event: string, message: Section = {}): Promise<readonly Section[]> {
    return await this.#inTurn(async () => {
      const found: Section[] = [];
      await this.#register(event, true);
      this.#lists.set(event, found);
      try {
        await this.#command(command, message, command);
      } finally {
        this.#lists.delete(event);
      }
      await this.#register(event, false);
      return found;
    });
  }

  /** Has events of a name told. */
  async listen(event: string): Promise<void> {
    await this.#inTurn(() => this.#register(event, true));
  }

  async #register(event: string, wanted: boolean): Promise<void> {
    const answer = await this.#exchange(eventPacket(event, wanted), `event ${event}`);
    if (answer.kind !== "confirmed") throw new ViciError(`charon has no event ${event}`);
  }

  async #command(command: string, message: Section, what: string): Promise<Section> {
    const answer = await this.#exchange(requestPacket(command, message), what);
    if (answer.kind !== "response") throw new ViciError(`charon has no command ${command}`);
    const { success, errmsg } = answer.message;
    if (success === "no")
      throw new ViciError(`charon refuses ${what}: ${typeof errmsg === "string" ? errmsg : "no reason given"}`);
    return answer.message;
  }

  async #inTurn<T>(act: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(act, act);
    this.#last = turn.catch(() => {});
    return await turn;
  }

  async #exchange(packet: Uint8Array, what: string): Promise<Received> {
    if (this.#closed) throw new ViciError(`cannot ask charon for ${what}: the connection has ended`);
    let timer: ReturnType<typeof setTimeout> | undefined;
    try {
      return await new Promise<Received>((resolve, reject) => {
        this.#waiting = { what, resolve, reject };
        timer = setTimeout(() => {
          reject(new ViciError(`charon does not answer ${what} within ${ANSWER_TIMEOUT_MS / 1000} s`));
          this.#socket?.terminate(); // an answer that comes late must not be taken for the next
        }, ANSWER_TIMEOUT_MS);
        this.#send(packet);
      });
    } finally {
      clearTimeout(timer);
      this.#waiting = undefined;
    }
  }

  #send(bytes: Uint8Array): void {
    this.#unsent = bytes; // of one exchange at a time
    this.#flush();
  }

  #flush(): void {
    if (this.#unsent.length === 0) return;
    const sent = this.#socket?.write(this.#unsent) ?? 0;
    if (sent > 0) this.#unsent = this.#unsent.subarray(sent);
  }

  #receive(bytes: Uint8Array): void {
    try {
      for (const received of this.#reader.read(bytes)) this.#take(received);
    } catch (error) {
      this.#waiting?.reject(error instanceof Error ? error : new Error(String(error)));
      this.#socket?.terminate();
    }
  }

  #take(received: Received): void {
    if (received.kind !== "event") {
      this.#waiting?.resolve(received);
      return;
    }
    const list = this.#lists.get(received.name);
    if (list) list.push(received.message);
    else this.#events.onEvent(received.name, received.message);
  }

  #close(): void {
    if (this.#closed) return;
    this.#closed = true;
    const what = this.#waiting?.what;
    this.#waiting?.reject(new ViciError(`charon ended while it was asked for ${what}`));
    if (this.#socket) this.#events.onClose(); // one that never came about is told by connect
  }

  /** Without another word to `onClose`. */
  [Symbol.dispose](): void {
    this.#closed = true;
    this.#waiting?.reject(new ViciError("the connection to charon was given up"));
    this.#socket?.terminate();
  }
}
