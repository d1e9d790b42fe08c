// `flannelctl lab`: a whole cluster of network namespaces on this machine, with real flannelds, to try things in and
// to take away again.

import { type Command, InvalidArgumentError, Option } from "commander";
import type { Family } from "../ip/family.ts";
import { isLabName, type LabOptions, MAX_NODES, MAX_PODS } from "./lab/layout.ts";
import { type Session, UsageError } from "./session.ts";

const DEFAULT_NAME = "default";

export function lab(program: Command, session: Session): void {
  const group = program
    .command("lab")
    .description("build a network of namespaces on this machine and try it (needs root)");
  addUp(group, session);
  addStatus(group, session);
  addPing(group, session);
  addDown(group, session);
  addDemo(group, session);
}

interface UpFlags {
  readonly name: string;
  readonly nodes: number;
  readonly pods: number;
  readonly backend: Pick<LabOptions, "backend" | "backendOptions">;
  readonly ipv4: boolean;
  readonly ipv6: boolean;
  readonly flanneld?: string;
  readonly count: number;
  readonly json: boolean;
}

function addUp(group: Command, session: Session): void {
  group
    .command("up")
    .description("build a lab and show who reaches whom; exit code 1 when a pair does not")
    .addOption(nameOption())
    .addOption(new Option("--nodes <n>", "nodes").argParser(numberFrom(1, MAX_NODES)).default(3))
    .addOption(new Option("--pods <n>", "pods on each node").argParser(numberFrom(1, MAX_PODS)).default(1))
    .addOption(
      new Option(
        "--backend <type>",
        "backend of the network: its type, or the JSON object of the network configuration",
      )
        .argParser(backendOf)
        .default({ backend: "vxlan" }, "vxlan"),
    )
    .option("--ipv6", "IPv6 as well", false)
    .option("--no-ipv4", "leave out IPv4")
    .addOption(flanneldOption())
    .addOption(countOption())
    .option("--json", "print the result as JSON", false)
    .action((flags: UpFlags) =>
      session.run(async (signal) => {
        const { up } = await import("./lab/commands.ts");
        const { name, nodes, pods, backend, flanneld, count, json } = flags;
        const options = { name, nodes, pods, families: familiesFrom(flags), ...backend };
        return await up({ lab: options, flanneld, count, json }, session, signal);
      }),
    );
}

function addStatus(group: Command, session: Session): void {
  group
    .command("status")
    .description("show nodes and leases; exit code 1 when a flanneld is gone or not ready")
    .addOption(nameOption())
    .option("--json", "print the result as JSON", false)
    .action((flags: { name: string; json: boolean }) =>
      session.run(async (signal) => {
        const { status } = await import("./lab/commands.ts");
        return await status(flags, session, signal);
      }),
    );
}

function addPing(group: Command, session: Session): void {
  group
    .command("ping")
    .description("show who reaches whom; exit code 1 when a pair does not")
    .addOption(nameOption())
    .addOption(countOption())
    .option("--json", "print the result as JSON", false)
    .action((flags: { name: string; count: number; json: boolean }) =>
      session.run(async (signal) => {
        const { ping } = await import("./lab/commands.ts");
        return await ping(flags, session, signal);
      }),
    );
}

function addDown(group: Command, session: Session): void {
  group
    .command("down")
    .description("remove a lab, also one that crashed half built")
    .addOption(nameOption())
    .option("--all", "remove every lab on this machine", false)
    .option("--json", "print the result as JSON", false)
    .action((flags: { name: string; all: boolean; json: boolean }) =>
      session.run(async () => {
        const { down } = await import("./lab/commands.ts");
        return await down({ names: flags.all ? "all" : [flags.name], json: flags.json }, session);
      }),
    );
}

function addDemo(group: Command, session: Session): void {
  group
    .command("demo")
    .description("a lab that shows itself: build, break, repair, remove; exit code 0 when all went as expected")
    .addOption(nameOption("demo"))
    .addOption(flanneldOption())
    .action((flags: { name: string; flanneld?: string }) =>
      session.run(async (signal) => {
        const { demo } = await import("./lab/demo.ts");
        return await demo(flags.name, flags.flanneld, session.out, signal);
      }),
    );
}

function nameOption(name = DEFAULT_NAME): Option {
  return new Option("--name <name>", "the lab's name; several may stand side by side").argParser(labName).default(name);
}

function countOption(): Option {
  return new Option("--count <n>", "packets for each pair").argParser(numberFrom(1, 1000)).default(3);
}

function flanneldOption(): Option {
  return new Option("--flanneld <path>", "the flanneld to run, if not the one beside flannelctl").env("FLANNELD");
}

function backendOf(text: string): Pick<LabOptions, "backend" | "backendOptions"> {
  if (!text.trimStart().startsWith("{")) return { backend: text.toLowerCase() };
  let options: Record<string, unknown>;
  try {
    options = JSON.parse(text);
  } catch (error) {
    throw new InvalidArgumentError(`want a type or a JSON object: ${(error as Error).message}`);
  }
  const { Type: type, ...backendOptions } = options;
  if (typeof type !== "string") throw new InvalidArgumentError('want a "Type", such as {"Type": "vxlan", "VNI": 7}');
  return { backend: type.toLowerCase(), backendOptions };
}

function labName(text: string): string {
  if (isLabName(text)) return text;
  throw new InvalidArgumentError("want up to 16 lower case letters, digits and dashes, a letter or digit first");
}

function numberFrom(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= least && value <= most) return value;
    throw new InvalidArgumentError(`want a number from ${least} to ${most}`);
  };
}

function familiesFrom({ ipv4, ipv6 }: Pick<UpFlags, "ipv4" | "ipv6">): readonly Family[] {
  const families: Family[] = [...(ipv4 ? (["ipv4"] as const) : []), ...(ipv6 ? (["ipv6"] as const) : [])];
  if (families.length === 0) throw new UsageError("--no-ipv4: no address family is left; give --ipv6 too");
  return families;
}
