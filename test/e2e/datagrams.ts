// Datagrams of all sizes from one pod to another, which sends each back: single ones, whole fragments' worth, and bursts that the pod gives its kernel in one piece
// (UDP_SEGMENT, udp(7)). Each that comes back is compared with what was sent.
//
//   datagrams.ts serve            sends back what comes
//   datagrams.ts ask ADDRESS      says "N datagrams whole", or what is wrong

import { UDP_SEGMENT } from "../../src/sys/datagram.ts";
import { POLLIN, poll, recvNow, SOCK_DGRAM, sendto, setsockopt, socket } from "../../src/sys/libc.ts";
import { randomBytes, randomNumbers } from "../fixtures/packets/packets.ts";
import type { Pod } from "./pod.ts";
import type { Program } from "./program.ts";

const PORT = 5281;
const AF_INET = 2;
const SOL_UDP = 17;
const ROUNDS = 30;
/** The largest that the udp backend's MTU of 1472 takes whole, and one of three fragments. */
const WHOLE = 1444;
const FRAGMENTED = 4000;
const ANSWER_MS = 5_000;

export async function serveDatagrams(pod: Pod): Promise<Program> {
  const server = pod.spawn([process.execPath, import.meta.path, "serve"]);
  await server.says(/serving/);
  return server;
}

/** What a pod says about the answers that it got. */
export async function askDatagrams(from: Pod, to: Pod): Promise<string> {
  const program = from.spawn([process.execPath, import.meta.path, "ask", to.address.ipv4]);
  await program.exit(60_000);
  return program.output.trim();
}

async function serve(): Promise<void> {
  await Bun.udpSocket({
    port: PORT,
    socket: { data: (socket, bytes, port, address) => void socket.send(bytes, port, address) },
  });
  console.log("serving");
}

/** One round of datagrams: single ones, then those of one burst, all of one size but the last. */
function round(random: () => number, first: number): { readonly single: Uint8Array[]; readonly burst: Uint8Array[] } {
  const below = (limit: number) => Math.floor(random() * limit);
  let number = first;
  const datagram = (length: number) => {
    const bytes = randomBytes(random, length);
    new DataView(bytes.buffer).setUint32(0, number++);
    return bytes;
  };
  const sizes = [WHOLE, 4, FRAGMENTED, ...Array.from({ length: 9 }, () => 4 + below(WHOLE - 3))];
  const size = 4 + below(WHOLE - 3);
  const many = Array.from({ length: 2 + below(38) }, () => size);
  return { single: sizes.map(datagram), burst: [...many, 4 + below(size - 3)].map(datagram) };
}

function ask(address: string): string {
  const fd = socket(AF_INET, SOCK_DGRAM, 0, "udp");
  const to = Uint8Array.from([AF_INET, 0, PORT >> 8, PORT & 0xff, ...address.split(".").map(Number), ...Array(8)]);
  const random = randomNumbers(11);
  const buffer = new Uint8Array(65_536);
  let sent = 0;
  for (let n = 0; n < ROUNDS; n++) {
    const { single, burst } = round(random, sent);
    for (const bytes of single) sendto(fd, bytes, 0, to, "udp");
    setsockopt(fd, SOL_UDP, UDP_SEGMENT, burst[0]?.length ?? 0, "udp");
    sendto(fd, Buffer.concat(burst), 0, to, "udp");
    setsockopt(fd, SOL_UDP, UDP_SEGMENT, 0, "udp");
    const awaited = new Map([...single, ...burst].map((bytes, i) => [sent + i, bytes]));
    sent += awaited.size;
    while (awaited.size > 0) {
      if (poll(fd, POLLIN, ANSWER_MS, "udp") === 0)
        return `no answer to ${[...awaited.values()].map(({ length }) => length)} bytes`;
      const length = recvNow(fd, buffer);
      const bytes = buffer.subarray(0, Math.max(0, length));
      const number = length < 4 ? -1 : new DataView(buffer.buffer).getUint32(0);
      const wanted = awaited.get(number);
      if (!wanted || Buffer.compare(wanted, bytes) !== 0) return `${length} bytes that were not sent, number ${number}`;
      awaited.delete(number);
    }
  }
  return `${sent} datagrams whole`;
}

if (import.meta.main) {
  const [, , role, address = ""] = process.argv;
  if (role === "serve") await serve();
  else console.log(ask(address));
}
