// The extension backend: commands of the configuration make the network. Authority: upstream's document of the backend, which promises a shell and four
// variables; what upstream does since v0.28.2 (no shell, two variables) leaves none of its own examples working.
//
//   PreStartupCommand ─▶ its output is this node's BackendData ─▶ lease ─▶ PostStartupCommand ─▶ SubnetAddCommand, SubnetRemoveCommand for each peer
//
// A command's text is the configuration's alone. What another node wrote reaches it as checked addresses in the environment and as text on standard input.

import { readBackendOptions } from "../config/backend_options.ts";
import type { Fields } from "../config/json_fields.ts";
import type { PerFamily } from "../ip/family.ts";
import type { Prefix } from "../ip/prefix.ts";
import { type Lease, refusal } from "../lease/lease.ts";
import { type CommandEffect, type ConfiguredCommand, NODE_EFFECT } from "../state/backend_object.ts";
import type { Backend, CommandRun } from "./backend.ts";
import { otherBackend } from "./peer.ts";
import { NO_LINKS } from "./plain.ts";

export interface ExtensionConfig {
  readonly preStartup: string;
  readonly postStartup: string;
  readonly subnetAdd: string;
  readonly subnetRemove: string;
  /** For each command. */
  readonly timeoutSeconds: number;
}

export interface ExtensionIdentity {
  readonly run: CommandRun;
}

const TEXT = { type: "text", default: "" } as const;

const OPTIONS = {
  PreStartupCommand: TEXT,
  PostStartupCommand: TEXT,
  SubnetAddCommand: TEXT,
  SubnetRemoveCommand: TEXT,
  /** upstream: none. A command that never ends would hold up all others. */
  CommandTimeout: { type: "integer", min: 1, max: 3600, default: 60 },
} as const satisfies Fields;

export const extension: Backend<ExtensionConfig, ExtensionIdentity> = {
  type: "extension",

  leaseType: "extension",

  optionNames: Object.keys(OPTIONS),

  idleOptions: {
    ShutdownCommand:
      "flannel never ran it, although upstream's samples have it: the network stands while flanneld does not run; put what has to go into a unit's ExecStopPost",
  },

  kinds: ["command"],

  config(raw, where) {
    const options = readBackendOptions(raw, OPTIONS, where);
    return {
      preStartup: options.PreStartupCommand.trim(),
      postStartup: options.PostStartupCommand.trim(),
      subnetAdd: options.SubnetAddCommand.trim(),
      subnetRemove: options.SubnetRemoveCommand.trim(),
      timeoutSeconds: options.CommandTimeout,
    };
  },

  ...NO_LINKS,

  identityCommand: ({ preStartup, timeoutSeconds }) => ({
    option: "PreStartupCommand",
    text: preStartup,
    timeoutSeconds,
  }),

  known(_config, { stored, command }) {
    if (command) return { run: command };
    // A plan runs nothing: what the stored lease says is what the command last said.
    return typeof stored.ipv4 === "string" ? { run: { output: stored.ipv4, id: "not run yet" } } : {};
  },

  identity: ({ run = { output: "", id: "not run yet" } }) => ({ run }),

  // upstream: one value, BackendData, whatever the families.
  leaseData: (_config, { run }) => ({ ipv4: run.output }),

  mtu: (_config, facts) => facts.external.mtu,

  *node({ postStartup, timeoutSeconds }, { run }, own, { networks }) {
    if (postStartup === "") return;
    yield {
      kind: "command",
      name: NODE_EFFECT,
      add: { option: "PostStartupCommand", text: postStartup },
      remove: { option: "ShutdownCommand", text: "" },
      environment: environmentOf(own, networks),
      stdin: "",
      timeoutSeconds,
      run: run.id,
    };
  },

  peer({ subnetAdd, subnetRemove, timeoutSeconds }, { run }, _own, peer, { networks }) {
    const other = otherBackend(peer, "extension");
    if (other) return other;
    const data = peer.backendData.ipv4 ?? "";
    if (typeof data !== "string") {
      return refusal(
        `its backend data is ${JSON.stringify(data).slice(0, 80)}, want the text that its PreStartupCommand said`,
      );
    }
    if (subnetAdd === "" && subnetRemove === "") return [];
    const add: ConfiguredCommand = { option: "SubnetAddCommand", text: subnetAdd };
    const remove: ConfiguredCommand = { option: "SubnetRemoveCommand", text: subnetRemove };
    const environment = environmentOf(peer, networks);
    const name = [peer.subnet.ipv4, peer.subnet.ipv6].filter((part) => part !== undefined).join(" ");
    const effect: CommandEffect = {
      kind: "command",
      name,
      add,
      remove,
      environment,
      stdin: data,
      timeoutSeconds,
      run: run.id,
    };
    return [effect];
  },
};

/** All of them always, so that a command may run under `set -u`; empty for a family that is not in use. */
function environmentOf({ subnet, publicIp }: Lease, networks: PerFamily<Prefix>): Readonly<Record<string, string>> {
  return {
    NETWORK: networks.ipv4 ?? "",
    IPV6NETWORK: networks.ipv6 ?? "",
    SUBNET: subnet.ipv4 ?? "",
    IPV6SUBNET: subnet.ipv6 ?? "",
    PUBLIC_IP: publicIp.ipv4 ?? "",
    PUBLIC_IPV6: publicIp.ipv6 ?? "",
  };
}
