// A virtual machine that runs one script and ends: for what a test must not do to the machine it runs on (set the clock), and for kernel modules that this
// machine lacks. QEMU emulates the processor (TCG): no KVM, no privileges, no disk, and no network but the connections that are named.

import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Image, STATUS, writeImage } from "./image.ts";
import { openKernel } from "./kernel.ts";
import { MACHINES, NATIVE } from "./machine.ts";

export interface GuestOptions extends Image {
  readonly timeLimitMs: number;
  readonly memoryMib?: number;
  readonly processors?: number;
  /**
   * TCP servers of this machine that the guest reaches through its eth0: "10.0.2.100:2379" there → "127.0.0.1:2379" here. The guest may have any address of
   * 10.0.2.0/24 from .4 on; needs the module virtio_net.
   */
  readonly forwards?: Readonly<Record<string, string>>;
  /** Each line that the script says, as it says it. */
  readonly onLine?: ((line: string) => void) | undefined;
}

export interface GuestResult {
  /** The script's exit status. */
  readonly status: number;
  readonly output: string;
  /** What the script left in /out, by path below it. */
  readonly files: ReadonlyMap<string, string>;
}

/** Characters that show why a guest failed. */
const TAIL = 3_000;

/** Runs the script; throws when the guest ends before the script does, or when the time is up. */
export async function runGuest(options: GuestOptions): Promise<GuestResult> {
  const directory = mkdtempSync(join(tmpdir(), "flannel-vm-"));
  const path = (name: string) => join(directory, name);
  try {
    const kernel = openKernel(options.architecture ?? NATIVE);
    writeImage(path("initramfs"), kernel, options);
    const command = qemu(options, kernel.image, path);
    const child = Bun.spawn([...command], { stdin: "ignore", stdout: "pipe", stderr: Bun.file(path("errors")) });
    let isLate = false;
    const limit = setTimeout(() => {
      isLate = true;
      child.kill("SIGKILL");
    }, options.timeLimitMs);
    try {
      const output = await readLines(child.stdout, options.onLine);
      await child.exited;
      const status = STATUS.exec(output)?.[1];
      if (status === undefined) {
        const why = isLate ? `not within ${options.timeLimitMs} ms` : `QEMU ended with ${child.exitCode}`;
        const said = [output, text(path("errors")), text(path("console"))].map((each) => each.slice(-TAIL));
        throw new Error(`the guest did not end its script: ${why}\n${said.join("\n")}`);
      }
      return { status: Number(status), output: output.replace(STATUS, "").trimEnd(), files: unpack(path) };
    } finally {
      clearTimeout(limit);
      child.kill("SIGKILL");
      await child.exited;
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function qemu(options: GuestOptions, image: string, path: (name: string) => string): readonly string[] {
  const { architecture = NATIVE, memoryMib = 1024, processors = 1, forwards = {} } = options;
  const machine = MACHINES[architecture];
  // The option's parts are separated by commas; a server's program is started for each connection.
  const forward = ([guest, here]: [string, string]) =>
    `,guestfwd=tcp:${guest}-cmd:busybox nc ${here.replace(/:(\d+)$/, " $1")}`;
  const network = Object.entries(forwards).map(forward).join("");
  return [
    // A guest must not outlive the test that was killed.
    ...["setpriv", "--pdeathsig", "KILL", ...machine.qemu],
    ...["-m", `${memoryMib}`, "-smp", `${processors}`, "-nodefaults", "-display", "none", "-no-reboot"],
    ...["-kernel", image, "-initrd", path("initramfs")],
    ...["-append", `console=${machine.devices.console} panic=-1 quiet`],
    ...machine.ports({ console: path("console"), out: path("out.tar") }),
    ...(network === "" ? [] : ["-netdev", `user,id=n,restrict=on,ipv6=off${network}`]),
    ...(network === "" ? [] : ["-device", "virtio-net-pci,netdev=n,romfile="]),
  ];
}

async function readLines(
  stream: ReadableStream<Uint8Array>,
  onLine: (line: string) => void = () => {},
): Promise<string> {
  const decoder = new TextDecoder();
  let [all, line] = ["", ""];
  for await (const chunk of stream) {
    const more = decoder.decode(chunk, { stream: true });
    all += more;
    const lines = (line + more).split("\n");
    line = lines.pop() ?? "";
    for (const each of lines) onLine(each);
  }
  return all;
}

function text(file: string): string {
  return existsSync(file) ? readFileSync(file, "utf8") : "";
}

function unpack(path: (name: string) => string): ReadonlyMap<string, string> {
  mkdirSync(path("out"));
  const { exitCode, stderr } = Bun.spawnSync(["tar", "-xf", path("out.tar"), "-C", path("out")]);
  if (exitCode !== 0) throw new Error(`cannot read what the script left in /out: ${stderr}`);
  const names = readdirSync(path("out"), { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const root = path("out").length + 1;
  return new Map(
    names.map((entry) => {
      const file = join(entry.parentPath, entry.name);
      return [file.slice(root), readFileSync(file, "utf8")];
    }),
  );
}
