// Traffic that runs while something happens to flanneld: a thousand packets a second, and a TCP stream. Both are counted by their own programs.

import { outageOf, parseReplies } from "../../src/ctl/lab/outage.ts";
import type { Node } from "./nodes.ts";
import { type Program, until } from "./program.ts";

/** ping(8), a packet every millisecond. Its numbers wrap after 65 s. */
export class PingStream {
  readonly #program: Program;

  private constructor(program: Program) {
    this.#program = program;
  }

  /** Resolves once answers come. */
  static async start(from: Pick<Node, "spawn">, target: string): Promise<PingStream> {
    const stream = new PingStream(from.spawn(["ping", "-n", "-D", "-i", "0.001", target]));
    await stream.goesOn();
    return stream;
  }

  /** Resolves after a hundred more answers. */
  async goesOn(): Promise<void> {
    const before = this.#program.outputBytes;
    const enough = 100 * "[1700000000.123456] 64 bytes from 10.5.2.0".length;
    await until("100 answers to ping", () => this.#program.outputBytes > before + enough, this.#program);
  }

  /** Packets without an answer, of those before the last answer. */
  async stop(): Promise<number> {
    await this.goesOn();
    await this.#program.stop("SIGINT");
    return outageOf(parseReplies(this.#program.output)).lost;
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
