// `flannelctl release`: hands a node, whose flanneld has ended, over to Go flannel. What is left in the kernel stays, in the form in which Go flannel makes
// it, finds it and deletes it.

import type { Command } from "commander";
import { type Session, UsageError } from "./session.ts";
import { line } from "./terminal.ts";

interface Flags {
  readonly plain: boolean;
  readonly dryRun: boolean;
  readonly json: boolean;
}

export function release(program: Command, session: Session): void {
  program
    .command("release")
    .description("hand this node, whose flanneld has ended, over to Go flannel: rewrite our routes in its form")
    .usage("--plain [--dry-run] [--json] -- [flanneld's flags]")
    .argument("[flags...]", "flags of flanneld, after --: release --plain -- --subnet-file=PATH")
    .option(
      "--plain",
      "rewrite routes that go through nexthop objects, and delete the objects; udp: delete its device",
      false,
    )
    .option("--dry-run", "print what would be done, as ip commands, and change nothing", false)
    .option("--json", "print the steps as JSON", false)
    .addHelpText(
      "after",
      "\nThe network is that of subnet.env. Pods go on talking meanwhile, and Go flannel may run already.\n\n" +
        "Examples:\n  flannelctl release --plain --dry-run\n  flannelctl release --plain -- --subnet-file=/run/flannel/subnet.env",
    )
    .action((flags: readonly string[], { plain, dryRun, json }: Flags) =>
      session.run(async () => {
        if (!plain) {
          throw new UsageError(
            "cannot release without --plain, the one way there is: our routes are rewritten in Go flannel's form, and what only ours needs is deleted; " +
              "flannelctl release --plain --dry-run shows it",
          );
        }
        const { releasePlain } = await import("./release/plain.ts");
        const { steps, faults, remarks } = releasePlain(flags, dryRun);
        if (json) line(session.out, JSON.stringify({ done: !dryRun, steps, faults, remarks }, undefined, 2));
        else {
          for (const command of steps) line(session.out, command);
          if (steps.length === 0)
            line(session.out, "# nothing to do: no route of this network goes through a nexthop object");
          for (const remark of remarks) line(session.out, `# ${remark}`);
          for (const fault of faults) line(session.err, fault);
        }
        return faults.length === 0 ? 0 : 1;
      }),
    );
}
