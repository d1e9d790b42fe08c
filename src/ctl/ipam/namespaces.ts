// Every network namespace of this host, and the addresses in each: what a container has, its address is in. Namespaces are found as threads' own
// (/proc/PID/task/TID/ns/net), as files that somebody holds open, and as mounts (`ip netns`, containerd, CRI-O, podman) in every mount namespace; a
// namespace that is none of these cannot be entered by anybody. Whatever keeps us from looking is a doubt: then no address may be called leaked.

import { readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import type { Address } from "../../ip/address.ts";
import { prefixAddress } from "../../ip/prefix.ts";
import { listAddresses } from "../../netlink/list.ts";
import { RequestSocket } from "../../netlink/socket.ts";
import { SysError } from "../../sys/error.ts";

export interface NamespaceView {
  /** Address → the namespace that has it, in words. */
  readonly holders: ReadonlyMap<Address, string>;
  /** Namespaces looked into. */
  readonly count: number;
  /** Why one may have been missed; none when all were seen. */
  readonly doubts: readonly string[];
}

export interface NamespaceOptions {
  /** In a PID namespace other than the host's: what is seen from here is the whole node. */
  readonly ownPidNamespace: boolean;
}

/** Inode of the first PID namespace of a kernel, PROC_PID_INIT_INO of linux/proc_ns.h. */
const FIRST_PID_NAMESPACE = "pid:[4026531836]";
/** A namespace may lose its last process, and with it its path, while we look. */
const ATTEMPTS = 3;

/** What a process that ended, or a zombie, answers. */
const ENDED: readonly string[] = ["ENOENT", "ESRCH", "EINVAL"];

/** A way to a namespace. */
interface Door {
  readonly path: string;
  readonly words: string;
}

export function lookIntoNamespaces({ ownPidNamespace }: NamespaceOptions): NamespaceView {
  const doubts: string[] = [];
  if (process.getuid?.() !== 0) doubts.push("only root sees every network namespace");
  if (!ownPidNamespace && readlinkSync("/proc/self/ns/pid") !== FIRST_PID_NAMESPACE)
    doubts.push("this is a container that does not see the host's processes (if it is the node: --own-pid-namespace)");
  for (let attempt = 1; ; attempt++) {
    const found = findNamespaces();
    const holders = new Map<Address, string>();
    const shut: string[] = [];
    for (const [id, doors] of found.doors) {
      const faults: string[] = [];
      const entered = doors.some((door) => {
        const addresses = addressesBehind(door, id, faults);
        for (const address of addresses ?? []) if (!holders.has(address)) holders.set(address, door.words);
        return addresses !== undefined;
      });
      if (!entered) shut.push(faults[0] ?? `the network namespace of ${doors[0]?.words} is there no more`);
    }
    const all = [...doubts, ...found.doubts, ...shut];
    if (shut.length === 0 || attempt === ATTEMPTS) return { holders, count: found.doors.size, doubts: all };
  }
}

/** undefined when this door leads there no more; why, if that is not simply its end, is added to `faults`. */
function addressesBehind({ path }: Door, id: string, faults: string[]): Address[] | undefined {
  try {
    if (String(statSync(path).ino) !== id) return undefined;
    using socket = new RequestSocket({ namespace: path });
    return listAddresses(socket).map(({ address }) => prefixAddress(address));
  } catch (error) {
    const code = error instanceof SysError ? error.errnoName : (error as NodeJS.ErrnoException).code;
    if (!ENDED.includes(code ?? "")) faults.push(wordsOf(error));
    return undefined;
  }
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

interface Found {
  /** Inode → the ways to it. */
  readonly doors: ReadonlyMap<string, Door[]>;
  readonly doubts: readonly string[];
}

function findNamespaces(): Found {
  const doors = new Map<string, Door[]>();
  const doubts = new Set<string>();
  const mountNamespaces = new Set<string>();
  const add = (link: string | undefined, path: string, words: string) => {
    const [, id] = /^net:\[(\d+)\]$/.exec(link ?? "") ?? [];
    if (id === undefined) return;
    const known = doors.get(id);
    if (known) known.push({ path, words });
    else doors.set(id, [{ path, words }]);
  };
  /** What `read` gives of a process, or nothing of one that ended or hides. */
  const of = <T>(pid: string, read: () => T): T | undefined => {
    try {
      return read();
    } catch (error) {
      const { code = "" } = error as NodeJS.ErrnoException;
      if (!ENDED.includes(code)) doubts.add(`process ${pid} hides its namespaces (${code}): CAP_SYS_PTRACE is wanted`);
      return undefined;
    }
  };
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  for (const pid of pids) {
    const mountNamespace = of(pid, () => readlinkSync(`/proc/${pid}/ns/mnt`));
    if (mountNamespace === undefined || mountNamespaces.has(mountNamespace)) continue;
    mountNamespaces.add(mountNamespace);
    for (const line of of(pid, () => readFileSync(`/proc/${pid}/mountinfo`, "utf8"))?.split("\n") ?? []) {
      // 36 35 0:4 net:[4026532001] /run/netns/a rw shared:1 - nsfs nsfs rw
      const [, , , root, point = ""] = line.split(" ");
      const place = point.replace(/\\([0-7]{3})/g, (_, octal: string) =>
        String.fromCharCode(Number.parseInt(octal, 8)),
      );
      add(root, `/proc/${pid}/root${place}`, place);
    }
  }
  for (const pid of pids) {
    for (const thread of of(pid, () => readdirSync(`/proc/${pid}/task`)) ?? []) {
      const path = `/proc/${pid}/task/${thread}/ns/net`;
      add(
        of(pid, () => readlinkSync(path)),
        path,
        `process ${pid}`,
      );
    }
    for (const fd of of(pid, () => readdirSync(`/proc/${pid}/fd`)) ?? []) {
      const path = `/proc/${pid}/fd/${fd}`;
      add(
        of(pid, () => readlinkSync(path)),
        path,
        `an open file of process ${pid}`,
      );
    }
  }
  return { doors, doubts: [...doubts] };
}
