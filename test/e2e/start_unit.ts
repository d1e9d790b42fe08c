// Starts one systemd service as systemd would, where systemd is not the init: environment files, command lines and their variables, runtime directory,
// the notification socket (systemd.service(5), systemd.exec(5), sd_notify(3)). It stays in front of the service, says `active` when ExecStartPost has ended
// well, passes SIGTERM on, and ends with the service.
//
//   bun start_unit.ts UNIT LOG

import { existsSync, mkdirSync, openSync, readFileSync, rmSync } from "node:fs";
import { AF_UNIX, bind, recvNow, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK, socket } from "../../src/sys/libc.ts";

type Environment = Record<string, string>;

/** Key → values, in order, of the [Service] section. */
export function readService(text: string): ReadonlyMap<string, readonly string[]> {
  const values = new Map<string, string[]>();
  let section = "";
  for (const raw of text.replace(/\\\n/g, " ").split("\n")) {
    const line = raw.trim();
    if (line === "" || line.startsWith("#") || line.startsWith(";")) continue;
    const header = /^\[(.+)\]$/.exec(line);
    if (header) section = header[1] ?? "";
    const [, key, value] = /^(\w+)\s*=\s*(.*)$/.exec(line) ?? [];
    if (section !== "Service" || key === undefined || value === undefined) continue;
    values.set(key, value === "" ? [] : [...(values.get(key) ?? []), value]);
  }
  return values;
}

/** Words of a command line, without their quotes. */
function words(text: string): string[] {
  const found = text.match(/"(?:[^"\\]|\\.)*"|'[^']*'|(?:[^\s"']|"[^"]*"|'[^']*')+/g) ?? [];
  return found.map((word) => word.replace(/"((?:[^"\\]|\\.)*)"|'([^']*)'/g, (_, double, single) => double ?? single));
}

/** `$NAME` alone is a list of words, `${NAME}` a part of one. */
export function commandLine(text: string, environment: Environment): string[] {
  return words(text.replace(/^[-@:+!]+/, "")).flatMap((word) => {
    const alone = /^\$(\w+)$/.exec(word);
    if (alone) return words(environment[alone[1] ?? ""] ?? "");
    return [word.replace(/\$\{(\w+)\}/g, (_, name: string) => environment[name] ?? "")];
  });
}

/** NAME=VALUE lines of an environment file. */
export function readEnvironmentFile(text: string): Environment {
  const lines = text.split("\n").filter((line) => /^\s*\w+=/.test(line));
  return Object.fromEntries(
    lines.map((line) => {
      const [, name = "", value = ""] = /^\s*(\w+)=(.*)$/.exec(line) ?? [];
      return [name, value.trim().replace(/^(["'])(.*)\1$/, "$2")];
    }),
  );
}

function environmentOf(service: ReadonlyMap<string, readonly string[]>): Environment {
  const environment: Environment = { PATH: process.env.PATH ?? "/usr/sbin:/usr/bin:/sbin:/bin", LANG: "C.UTF-8" };
  for (const line of service.get("Environment") ?? []) {
    for (const assignment of words(line)) Object.assign(environment, readEnvironmentFile(assignment));
  }
  for (const file of service.get("EnvironmentFile") ?? []) {
    const path = file.replace(/^-/, "");
    if (file.startsWith("-") && !existsSync(path)) continue;
    Object.assign(environment, readEnvironmentFile(readFileSync(path, "utf8")));
  }
  return environment;
}

async function main(unit: string, log: string): Promise<number> {
  const service = readService(readFileSync(unit, "utf8"));
  for (const name of service.get("RuntimeDirectory") ?? []) mkdirSync(`/run/${name}`, { recursive: true });
  for (const name of service.get("StateDirectory") ?? []) mkdirSync(`/var/lib/${name}`, { recursive: true });
  const notify = `/run/notify-${process.pid}`;
  const fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, notify);
  bind(fd, Buffer.concat([Buffer.from([AF_UNIX, 0]), Buffer.from(`${notify}\0`)]), notify);
  const watchdogSeconds = Number(process.env.WATCHDOG_SECONDS ?? service.get("WatchdogSec")?.at(-1) ?? 0);
  const environment = environmentOf(service);
  const output = openSync(log, "a");
  const stdio = ["ignore", output, output] as const;
  const spawn = (command: string, extra: Environment = {}) =>
    Bun.spawn(commandLine(command, environment), { env: { ...environment, ...extra }, stdio: [...stdio] });

  for (const pre of service.get("ExecStartPre") ?? []) {
    const code = await spawn(pre).exited;
    if (code !== 0 && !/^[+:!]*-/.test(pre)) throw new Error(`ExecStartPre=${pre}: exit ${code}`);
  }
  const [start = ""] = service.get("ExecStart") ?? [];
  const child = spawn(start, {
    NOTIFY_SOCKET: notify,
    ...(watchdogSeconds > 0 && { WATCHDOG_USEC: String(watchdogSeconds * 1_000_000) }),
  });
  process.on("SIGTERM", () => child.kill("SIGTERM"));
  let active = false;
  let alive = performance.now();
  const buffer = new Uint8Array(4096);
  while (child.exitCode === null && child.signalCode === null) {
    for (let length = recvNow(fd, buffer); length > 0; length = recvNow(fd, buffer)) {
      const lines = Buffer.from(buffer.subarray(0, length)).toString().split("\n");
      for (const line of lines) console.log(`notified: ${line}`);
      if (lines.includes("READY=1") || lines.includes("WATCHDOG=1")) alive = performance.now();
      if (!lines.includes("READY=1") || active) continue;
      active = true;
      for (const post of service.get("ExecStartPost") ?? []) {
        const code = await spawn(post).exited;
        if (code !== 0) throw new Error(`ExecStartPost=${post}: exit ${code}`);
      }
      console.log("active");
    }
    if (active && watchdogSeconds > 0 && performance.now() - alive > watchdogSeconds * 1_000) {
      console.log("watchdog: no sign of life");
      child.kill("SIGABRT");
    }
    await Bun.sleep(20);
  }
  rmSync(notify, { force: true });
  console.log(`ended: ${child.signalCode ?? child.exitCode}`);
  return child.exitCode ?? 1;
}

if (import.meta.main) {
  const [unit = "", log = ""] = process.argv.slice(2);
  process.exitCode = await main(unit, log);
}
