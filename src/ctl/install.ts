// `flannelctl install` and `uninstall`: flannel in a Kubernetes cluster, as a manifest to look at, to keep or to change, or applied by the operator's own kubectl.
// In place of a manifest from the web and sed.

import { type Command, Option } from "commander";
import type { KubernetesFlags } from "./install/commands.ts";
import { type Session, UsageError } from "./session.ts";

export const NAMESPACE = "kube-flannel";

export function install(program: Command, session: Session): void {
  const command = program
    .command("install")
    .description("print what runs flannel on every node of a Kubernetes cluster, or apply it")
    .option("--apply", "apply it by kubectl, to the cluster that kubectl means");
  addOptions(command)
    .addHelpText(
      "after",
      "\nExamples:\n  flannelctl install --kubernetes --image=registry.example/flannel-ts:0.1.0 --pod-cidr=10.244.0.0/16 > flannel.yml\n" +
        "  flannelctl install --kubernetes --values=values.yaml --apply",
    )
    .action((flags: KubernetesFlags) =>
      session.run(async () => {
        demandKubernetes(flags, "install");
        return await (await import("./install/commands.ts")).install(flags, session);
      }),
    );
}

export function uninstall(program: Command, session: Session): void {
  const command = program
    .command("uninstall")
    .description("print what takes flannel's CNI configuration and plugins off every node of a cluster, or do it")
    .option("--apply", "apply it by kubectl, wait for all nodes, and delete what was installed");
  addOptions(command)
    .addHelpText("after", "\nCall it with the options of `flannelctl install`.")
    .action((flags: KubernetesFlags) =>
      session.run(async () => {
        demandKubernetes(flags, "uninstall");
        return await (await import("./install/commands.ts")).uninstall(flags, session);
      }),
    );
}

function addOptions(command: Command): Command {
  return command
    .option("--kubernetes", "in a Kubernetes cluster")
    .addOption(new Option("--namespace <name>", "where its objects are").default(NAMESPACE))
    .option("--image <image>", "the image with its tag, as the nodes can pull it")
    .option("--pod-cidr <network>", "the pods' IPv4 network, as the cluster has it; empty for none")
    .option("--pod-cidr-v6 <network>", "the pods' IPv6 network")
    .option("--backend <type>", "the backend")
    .option("--values <file>", "a values file of the Helm chart");
}

function demandKubernetes({ kubernetes }: KubernetesFlags, verb: string): void {
  if (kubernetes) return;
  throw new UsageError(
    `cannot ${verb} without knowing where: say --kubernetes (a host of its own has install.sh of the tarball, and flannelctl install-cni)`,
  );
}
