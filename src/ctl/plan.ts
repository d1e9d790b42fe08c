// `flannelctl plan`: what flanneld would do now, given these flags, as the commands of iproute2 that would do the same. It reads the store, the host and the
// kernel, and changes nothing.

import type { Command } from "commander";
import type { Session } from "./session.ts";
import { line } from "./terminal.ts";

interface PlanFlags {
  readonly all: boolean;
  readonly json: boolean;
}

export function plan(program: Command, session: Session): void {
  program
    .command("plan")
    .description("show what flanneld would do with these flags, as ip and bridge commands; nothing is changed")
    .usage("[--all] [--json] -- [flanneld's flags]")
    .argument("[flags...]", "flags of flanneld, after --: plan -- --store-file=PATH --iface=eth0")
    .option("--all", "everything that flanneld keeps up, and not only what is missing or wrong now", false)
    .option("--json", "print the operations as JSON", false)
    .action((flags: readonly string[], { all, json }: PlanFlags) =>
      session.run(async (signal) => {
        const { planFor } = await import("../daemon/plan.ts");
        const { operations, remarks, standing } = await planFor(flags, all, signal);
        if (json) {
          line(session.out, JSON.stringify({ remarks, operations }, undefined, 2));
          return 0;
        }
        for (const remark of remarks) line(session.out, `# ${remark}`);
        for (const { commands } of operations) for (const command of commands) line(session.out, command);
        if (operations.length === 0) line(session.out, `# nothing to do: ${standing} objects stand as wanted`);
        return 0;
      }),
    );
}
