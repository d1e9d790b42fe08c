// Traffic that runs while something happens to flanneld: a thousand packets a second, and a TCP stream. Both are counted by their own programs.

import type { Node } from "./nodes.ts";
import { type Program, until } from "./program.ts";

/** An answer's line: "[1700000000.12345] 10.5.2.0 : [17], 64 bytes, 0.05 ms (…)". */
const ANSWER = / : \[(\d+)\], \d+ bytes/g;
const ANSWER_BYTES = "[1700000000.12345] 10.5.2.0 : [1], 64 bytes".length;

/**
 * fping(8), a packet every millisecond. It sleeps in between, where ping(8) would spin and yield: a few of those and some kernels let nobody else run for
 * a minute.
 */
export class PingStream {
  readonly #program: Program;

  private constructor(program: Program) {
    this.#program = program;
  }

  /** Resolves once answers come. */
  static async start(from: Pick<Node, "spawn">, target: string): Promise<PingStream> {
    // An answer that comes late has come.
    const stream = new PingStream(from.spawn(["fping", "-l", "-D", "-i", "1", "-p", "1", "-t", "60000", target]));
    await stream.goesOn();
    return stream;
  }

  /** Resolves after a hundred more answers. */
  async goesOn(): Promise<void> {
    const enough = this.#answers().length + 100;
    let seen = this.#program.outputBytes;
    const has = () => {
      if (this.#program.outputBytes < seen + ANSWER_BYTES) return false;
      seen = this.#program.outputBytes;
      return this.#answers().length >= enough;
    };
    await until("100 answers to fping", has, this.#program);
  }

  /** Packets without an answer, of those before the last answer. */
  async stop(): Promise<number> {
    await this.goesOn();
    await this.#program.stop("SIGINT");
    const answers = new Set(this.#answers());
    return answers.values().reduce((last, number) => Math.max(last, number), -1) + 1 - answers.size;
  }

  #answers(): number[] {
    return [...this.#program.output.matchAll(ANSWER)].map(([, number]) => Number(number));
  }
}

/** iperf3(1) at a rate that leaves the processors to others. */
export class TcpStream {
  readonly #client: Program;

  private constructor(client: Program) {
    this.#client = client;
  }

  static async start(from: Node, to: Node, seconds: number): Promise<TcpStream> {
    const server = to.spawn(["iperf3", "--server", "--one-off", "--forceflush", "--bind", to.overlay()]);
    await server.says(/Server listening/);
    const options = ["--bitrate", "50M", "--interval", "0.5", "--json"];
    return new TcpStream(from.spawn(["iperf3", "--client", to.overlay(), "--time", `${seconds}`, ...options]));
  }

  /**
   * Waits for the end and returns how many half seconds passed without a byte; throws what iperf3 says when the connection broke. Retransmissions are not
   * counted: a receiver that waits for a processor causes them too, and lost packets are what PingStream is for.
   */
  async end(): Promise<number> {
    const code = await this.#client.exit();
    const json = JSON.parse(this.#client.output);
    if (code !== 0) throw new Error(`iperf3 ended with ${code}: ${json.error}`);
    return json.intervals.filter((interval: { sum: { bytes: number } }) => interval.sum.bytes === 0).length;
  }
}
