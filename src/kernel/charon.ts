// charon, strongSwan's IKE daemon, as a process: found, started with a configuration of its own, found again by the next flanneld, stopped. It is no child that
// ends with flanneld: the security associations are its own, and would be gone. Files, all of root alone:
//
//   /run/charon.flannel.conf    its configuration; the host's own strongswan.conf is read first
//   /run/charon.flannel.vici    its control socket
//   /run/charon.flannel.log     what it says
//   /run/charon.flannel.json    which process it is, and a digest of what it was started for
//
// They are not in flanneld's directory, because the AppArmor profile that Debian and Ubuntu give charon lets it read and write /run/charon.* and little else.

import { closeSync, openSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";

export interface CharonFiles {
  readonly config: string;
  readonly socket: string;
  readonly log: string;
  readonly state: string;
}

export const CHARON_FILES: CharonFiles = {
  config: "/run/charon.flannel.conf",
  socket: "/run/charon.flannel.vici",
  log: "/run/charon.flannel.log",
  state: "/run/charon.flannel.json",
};

/** A process, told from a later one of its number. */
export interface CharonProcess {
  readonly pid: number;
  /** Clock ticks since boot. */
  readonly startTime: number;
  /** Of what it was started for. */
  readonly digest: string;
}

/** Where distributions put it, besides PATH: Alpine, Arch and flannel's image; Debian and Ubuntu; Fedora; openSUSE. */
const PLACES = [
  "/usr/lib/strongswan/charon",
  "/usr/lib/ipsec/charon",
  "/usr/libexec/strongswan/charon",
  "/usr/libexec/ipsec/charon",
];

/** Compiled into charon, which does not start while the process in it lives. */
const PID_FILE = "/var/run/charon.pid";

/** A terminated charon tells its peers first. */
const STOP_MS = 5_000;
const LOOK_MS = 50;

/** What it says of thousands of peers in a day; then the log begins again. */
const LOG_BYTES = 4 << 20;
/** Lines of the log that an error repeats. */
const LOG_TAIL = 3;

export function findCharon(): string {
  const found = Bun.which("charon") ?? PLACES.find((path) => Bun.which(path) !== null);
  if (found) return found;
  throw new Error(
    `cannot find charon, the IKE daemon of strongSwan, in PATH or at ${PLACES.join(", ")}; install strongswan-charon, strongswan-swanctl and ` +
      "libstrongswan-standard-plugins (Debian, Ubuntu) or strongswan (elsewhere)",
  );
}

/** The host's settings first (which plugins there are to load), then ours, which hold over them. */
function configuration({ socket, log }: CharonFiles): string {
  return `# Written by flanneld. Settings of /etc/strongswan.conf hold unless they are here too.
include /etc/strongswan.conf
include /etc/strongswan/strongswan.conf

charon {
  # flanneld makes routes and policies.
  install_routes = no
  install_virtual_ip = no
  # Thousands of them are no news of where a peer is.
  process_route = no
  filelog {
    flannel {
      path = ${log}
      append = yes
      flush_line = yes
      time_format = %Y-%m-%dT%H:%M:%S
      default = 1
    }
  }
  plugins {
    vici {
      load = yes
      socket = unix://${socket}
    }
  }
}
`;
}

/** The charon that an earlier flanneld has started, if it lives. */
export function runningCharon({ state }: CharonFiles): CharonProcess | undefined {
  try {
    const { pid, startTime, digest } = JSON.parse(readFileSync(state, "utf8")) as Partial<CharonProcess>;
    if (typeof pid !== "number" || typeof startTime !== "number" || typeof digest !== "string") return undefined;
    return startTimeOf(pid) === startTime ? { pid, startTime, digest } : undefined;
  } catch {
    return undefined; // none was started
  }
}

/** Starts charon and calls `isUp` until it says so. Throws, with what charon said, when it ends or stays away; then nothing of it is left. */
export async function startCharon(
  files: CharonFiles,
  digest: string,
  isUp: () => Promise<boolean>,
  limitMs: number,
): Promise<CharonProcess> {
  const program = findCharon();
  await makeWay();
  rmSync(files.log, { force: true });
  rmSync(files.socket, { force: true });
  writeFileSync(files.config, configuration(files), { mode: 0o600 });
  const log = openSync(files.log, "a", 0o600);
  // A session of its own: what ends flanneld's is not for it.
  const options = { stdin: "ignore", stdout: log, stderr: log, detached: true } as const;
  let child: Bun.Subprocess;
  try {
    child = Bun.spawn([program], { ...options, env: { ...process.env, STRONGSWAN_CONF: files.config } });
  } finally {
    closeSync(log);
  }
  child.unref();
  const started = { pid: child.pid, startTime: startTimeOf(child.pid) ?? 0, digest };
  writeFileSync(files.state, JSON.stringify(started), { mode: 0o600 });
  const end = performance.now() + limitMs;
  while (child.exitCode === null && child.signalCode === null) {
    if (await isUp()) return started;
    if (performance.now() > end) break;
    await Bun.sleep(LOOK_MS);
  }
  const how =
    child.exitCode === null && child.signalCode === null
      ? `has no VICI socket after ${limitMs / 1000} s (its plugin is in strongswan-swanctl on Debian and Ubuntu)`
      : `ended with ${child.exitCode ?? child.signalCode}`;
  const said = lastLines(files.log);
  await stopCharon(files, started);
  throw new Error(`cannot start ${program}: it ${how}${said === "" ? "" : `: ${said}`}`);
}

/** Ends it, which ends its associations here and at its peers. */
export async function stopCharon(files: CharonFiles, { pid, startTime }: CharonProcess): Promise<void> {
  const lives = () => startTimeOf(pid) === startTime;
  const send = (signal: "SIGTERM" | "SIGKILL") => {
    try {
      if (lives()) process.kill(pid, signal);
    } catch {
      // it ended meanwhile
    }
  };
  send("SIGTERM");
  for (let waitedMs = 0; lives() && waitedMs < STOP_MS; waitedMs += LOOK_MS) await Bun.sleep(LOOK_MS);
  send("SIGKILL");
  while (lives()) await Bun.sleep(LOOK_MS);
  for (const file of [files.config, files.socket, files.state]) rmSync(file, { force: true });
}

/** Keeps the log within bounds; charon appends to whatever it is. */
export function trimLog({ log }: CharonFiles): void {
  try {
    if (statSync(log).size > LOG_BYTES) truncateSync(log);
  } catch {
    // there is none
  }
}

/**
 * Throws when another charon runs, which has the ports. Removes a pid file that is only left over, of a process whose number another program has by now, or
 * whose parent has not heard of its end.
 */
async function makeWay(): Promise<void> {
  const limit = performance.now() + STOP_MS;
  for (;;) {
    let pid: number;
    let program: string;
    try {
      pid = Number(readFileSync(PID_FILE, "utf8"));
      program = readFileSync(`/proc/${pid}/comm`, "utf8").trim();
    } catch {
      return; // no file or no process: charon's own check is enough
    }
    const lives = program.startsWith("charon") && startTimeOf(pid) !== undefined;
    if (!program.startsWith("charon") || (!lives && performance.now() > limit)) {
      rmSync(PID_FILE, { force: true });
      return;
    }
    if (lives) {
      throw new Error(
        `cannot start charon: another one runs (pid ${pid}), which has UDP ports 500 and 4500; stop it for good (systemctl disable --now strongswan-starter strongswan)`,
      );
    }
    await Bun.sleep(LOOK_MS); // it has just been killed
  }
}

/** Field 22 of /proc/PID/stat; undefined when there is no such process, or only its exit status. */
function startTimeOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" ? undefined : Number(fields[19]);
  } catch {
    return undefined;
  }
}

function lastLines(path: string): string {
  try {
    return readFileSync(path, "utf8").trim().split("\n").slice(-LOG_TAIL).join("; ");
  } catch {
    return "";
  }
}
