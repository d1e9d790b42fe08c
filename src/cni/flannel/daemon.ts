// How flanneld of this node is, by the status.json that it keeps beside subnet.env. The file outlives the process: whether that runs is looked up in /proc.
//
// flanneld may run in a container, whose process numbers are others than the host's: there it is looked for by the moment it started, which is the same in
// both, and by its number inside (NSpid of proc(5)).

import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseStatus, type Status } from "../../config/status.ts";
import { statusText } from "../../config/status_text.ts";

export type Daemon =
  /** No status.json: it never ran since the node is up, or is one that writes none. */
  | { readonly kind: "unknown"; readonly file: string }
  | { readonly kind: "gone"; readonly status: Status }
  | { readonly kind: "running"; readonly status: Status };

/** `proc` is where the processes are to be found. */
export function daemonOf(subnetFile: string, proc = "/proc"): Daemon {
  const file = join(dirname(subnetFile), "status.json");
  const status = parseStatus(read(file) ?? "");
  if (!status) return { kind: "unknown", file };
  return { kind: isRunning(status, proc) ? "running" : "gone", status };
}

/** Why a pod has to wait, and for what. */
export function daemonText(daemon: Daemon): string {
  switch (daemon.kind) {
    case "unknown":
      return `flanneld has not told how it is (no ${daemon.file}): start it, or look at its log`;
    case "gone":
      return `flanneld is not running: process ${daemon.status.pid} is gone; its last words, of ${daemon.status.since}: ${statusText(daemon.status)}`;
    case "running":
      return daemon.status.phase === "ready"
        ? `flanneld is ${statusText(daemon.status)}, but not with this file: is it the one of --subnet-file?`
        : `flanneld is ${statusText(daemon.status)} (since ${daemon.status.since})`;
  }
}

function isRunning({ pid, startTime }: Status, proc: string): boolean {
  if (startTimeOf(`${proc}/${pid}`) === startTime) return true;
  for (const name of readdirSync(proc)) {
    if (!/^[0-9]+$/.test(name) || startTimeOf(`${proc}/${name}`) !== startTime) continue;
    const numbers = /^NSpid:\s*(.*)$/m.exec(read(`${proc}/${name}/status`) ?? "")?.[1]?.split(/\s+/) ?? [];
    if (numbers.at(-1) === String(pid)) return true;
  }
  return false;
}

/** Field 22 of /proc/PID/stat; the command's name in field 2 may hold anything. A zombie has ended. */
function startTimeOf(process: string): number | undefined {
  const stat = read(`${process}/stat`);
  if (stat === undefined) return undefined;
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return fields[0] === "Z" || fields[0] === "X" ? undefined : Number(fields[19]);
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
