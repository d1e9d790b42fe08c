// A large file from one pod to another and back, with checksums over what arrives: what is sent through a packet path with a wrong TCP checksum never does.

import { expect } from "bun:test";
import type { Pod } from "./pod.ts";

const PORT = 5280;
export const TRANSFER_BYTES = 48_000_000;

/** Answers POST with the checksum of what it got, and GET with as many bytes as the path says and their checksum. */
const server = (bytes: number) => `
const digest = (bytes) => new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
Bun.serve({ hostname: "0.0.0.0", port: ${PORT}, idleTimeout: 60, async fetch(request) {
  if (request.method === "POST") return new Response(digest(await request.arrayBuffer()));
  const bytes = crypto.getRandomValues(new Uint8Array(65536));
  const body = Buffer.concat(Array(Math.ceil(${bytes} / bytes.length)).fill(bytes));
  return new Response(body, { headers: { digest: digest(body) } });
} });
console.log("serving");`;

const client = (address: string, bytes: number) => `
const digest = (bytes) => new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
const url = "http://${address}:${PORT}/";
const part = crypto.getRandomValues(new Uint8Array(65536));
const body = Buffer.concat(Array(Math.ceil(${bytes} / part.length)).fill(part));
const sent = await (await fetch(url, { method: "POST", body })).text();
const answer = await fetch(url);
const received = digest(await answer.arrayBuffer());
console.log(sent === digest(body) ? "sent whole" : "sent damaged", received === answer.headers.get("digest") ? "received whole" : "received damaged");`;

/** Sends and receives, and expects both whole. */
export async function transferBothWays(from: Pod, to: Pod, bytes = TRANSFER_BYTES): Promise<void> {
  await using serving = to.spawn([process.execPath, "-e", server(bytes)]);
  await serving.says(/serving/);
  const transfer = from.spawn([process.execPath, "-e", client(to.address.ipv4, bytes)]);
  const code = await transfer.exit(60_000);
  expect([code, transfer.output.trim()]).toEqual([0, "sent whole received whole"]);
}
