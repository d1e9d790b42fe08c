// One member of etcd on the loopback with mutual TLS, to see what it and its tools think of certificates.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Issued } from "../../src/ctl/certs/certificate.ts";

export interface Member {
  readonly port: number;
  readonly directory: string;
  /** What etcd has said so far. */
  log(): string;
  /** Files of a certificate: NAME.pem and NAME-key.pem in `directory`. */
  add(name: string, issued: Issued): void;
  run(...command: readonly string[]): Promise<{ readonly code: number; readonly text: string }>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** The server's certificate is that of clients, server and peers alike; `authority` must have signed all who come. */
export async function startMember(authority: Issued, server: Issued, timeoutMs = 15_000): Promise<Member> {
  const directory = mkdtempSync(join(tmpdir(), "etcd-tls-"));
  const add = (name: string, { certificate, key }: Issued) => {
    writeFileSync(join(directory, `${name}.pem`), certificate);
    writeFileSync(join(directory, `${name}-key.pem`), key, { mode: 0o600 });
  };
  add("ca", authority);
  add("server", server);
  const [port, peerPort] = [await freePort(), await freePort()];
  const [peerUrl, clientUrls] = [
    `https://127.0.0.1:${peerPort}`,
    `https://127.0.0.1:${port},https://127.0.0.2:${port}`,
  ];
  const files = (prefix: string) => [
    `--${prefix}cert-file=server.pem`,
    `--${prefix}key-file=server-key.pem`,
    `--${prefix}trusted-ca-file=ca.pem`,
    `--${prefix}client-cert-auth`,
  ];
  const urls = [
    `--listen-client-urls=${clientUrls}`,
    `--advertise-client-urls=${clientUrls}`,
    `--listen-peer-urls=${peerUrl}`,
    `--initial-advertise-peer-urls=${peerUrl}`,
    `--initial-cluster=m=${peerUrl}`,
  ];
  const child = Bun.spawn(
    [
      "etcd",
      "--name=m",
      "--data-dir=data",
      "--enable-v2",
      "--logger=zap",
      "--log-level=warn",
      ...urls,
      ...files(""),
      ...files("peer-"),
    ],
    { cwd: directory, stdio: ["ignore", "ignore", Bun.file(join(directory, "log"))] },
  );
  const member: Member = {
    port,
    directory,
    log: () => readFileSync(join(directory, "log"), "utf8"),
    add,
    run: async (...command) => {
      const run = Bun.spawn([...command], { cwd: directory, env: environment(), stdout: "pipe", stderr: "pipe" });
      const [out, err, code] = await Promise.all([run.stdout.text(), run.stderr.text(), run.exited]);
      return { code, text: out + err };
    },
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      await child.exited;
      rmSync(directory, { recursive: true, force: true });
    },
  };
  try {
    await answering(member, timeoutMs);
  } catch (error) {
    const log = member.log();
    await member[Symbol.asyncDispose]();
    throw new Error(`etcd does not answer: ${log}`, { cause: error });
  }
  return member;
}

async function answering(member: Member, timeoutMs: number): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  const files = ["--cacert", "ca.pem", "--cert", "server.pem", "--key", "server-key.pem"];
  while (true) {
    const { code, text } = await member.run("curl", "-sSf", ...files, `https://127.0.0.1:${member.port}/health`);
    if (code === 0 && text.includes("true")) return;
    if (performance.now() > deadline) throw new Error(text);
    await Bun.sleep(50);
  }
}

function environment(): Record<string, string> {
  return { PATH: process.env.PATH ?? "", HOME: tmpdir() };
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() =>
        typeof address === "object" && address ? resolve(address.port) : reject(new Error("no port")),
      );
    });
  });
}
