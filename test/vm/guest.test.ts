// The virtual machine itself: what goes in, what comes out, and that it ends.

import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { runGuest } from "./guest.ts";

const LIMIT_MS = 60_000;

test(
  "runGuest loads modules, reaches the server that is named, and returns status, output and files",
  async () => {
    const greet = { open: (socket: Bun.Socket) => void socket.end("from outside"), data: () => {} };
    using server = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: greet });
    const said: string[] = [];
    const { status, output, files } = await runGuest({
      script: `
        ip link add wg0 type wireguard
        ip -V
        ip link set eth0 up
        ip address add 10.0.2.15/24 dev eth0
        mkdir /out/below
        nc 10.0.2.100 7 > /out/below/answer
        nc -w 3 10.0.2.2 ${server.port} 2>/dev/null || echo "nothing else"
        exit 3`,
      programs: ["ip"],
      modules: ["wireguard", "virtio_pci", "virtio_net"],
      forwards: { "10.0.2.100:7": `127.0.0.1:${server.port}` },
      timeLimitMs: LIMIT_MS,
      onLine: (line) => said.push(line),
    });
    expect(output).toMatch(/^ip utility, iproute2.*\nnothing else$/);
    expect(said).toEqual([...output.split("\n"), "exit status 3"]);
    expect(files.get("below/answer")).toBe("from outside");
    expect(status).toBe(3);
  },
  LIMIT_MS + 10_000,
);

test(
  "runGuest ends a guest whose time is up",
  async () => {
    const run = runGuest({ script: "sleep 1000", timeLimitMs: 4_000 });
    await expect(run).rejects.toThrow("not within 4000 ms");
    expect(children().filter((name) => name.startsWith("qemu"))).toEqual([]);
  },
  LIMIT_MS,
);

test("runGuest names a module that the kernel does not have", async () => {
  const run = runGuest({ script: "", modules: ["nonesuch"], timeLimitMs: LIMIT_MS });
  await expect(run).rejects.toThrow("has no module nonesuch");
});

/** Names of this process's children. */
function children(): string[] {
  const stats = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/stat`, "utf8");
      } catch {
        return ""; // it has ended meanwhile
      }
    });
  return stats
    .map((stat) => /^\d+ \((.*)\) \S (\d+)/.exec(stat))
    .filter((found) => Number(found?.[2]) === process.pid)
    .map((found) => found?.[1] ?? "");
}
