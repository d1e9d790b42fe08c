// What single backends make beside links and routes, as the commands of wg, ip xfrm, swanctl or the shell that would do it. Secrets are left out, so that
// every line can stand in a log; what no command does (the packet loop is flanneld's own) is said in words.

import type { Address } from "../ip/address.ts";
import {
  type BackendObject,
  type CommandEffect,
  type ConfiguredCommand,
  commandTitle,
  hasSameEffect,
  type WireguardPeer,
  type XfrmPolicy,
} from "./backend_object.ts";

/** An object as error messages name it. */
export function printBackendObject(object: BackendObject): string {
  switch (object.kind) {
    case "wgdevice":
      return `wireguard key and port ${object.listenPort} dev ${object.dev}`;
    case "wgpeer":
      return `wireguard peer ${object.publicKey} dev ${object.dev}`;
    case "wgallowed":
      return `allowed IP ${object.prefix} of wireguard peer ${object.publicKey} dev ${object.dev}`;
    case "packetloop":
      return `packet loop dev ${object.dev} udp ${hostPort(object.local, object.port)}`;
    case "looppeer":
      return `packet loop's peer ${object.subnet} at ${hostPort(object.endpoint.address, object.endpoint.port)} dev ${object.dev}`;
    case "xfrmpolicy":
      return `xfrm policy ${object.direction} src ${object.src} dst ${object.dst}`;
    case "ikedaemon":
      return "IKE daemon charon";
    case "ike":
      return `IKE connection ${object.name}`;
    case "command":
      return commandTitle(object, object.add);
  }
}

/** The commands of one operation, one a line. A change is made as what is missing. */
export function backendCommands(object: BackendObject, verb: "add" | "change" | "recreate" | "delete"): string {
  const remove = verb === "delete";
  switch (object.kind) {
    case "wgdevice":
      return remove
        ? `wg set ${object.dev} listen-port 0 private-key /dev/null`
        : `wg set ${object.dev} listen-port ${object.listenPort} private-key ${object.privateKeyFile}`;
    case "wgpeer":
      return `wg set ${object.dev} peer ${object.publicKey} ${remove ? "remove" : peerOptions(object)}`;
    case "wgallowed":
      return `wg set ${object.dev} peer ${object.publicKey} allowed-ips ${remove ? "-" : "+"}${object.prefix}`;
    case "packetloop":
    case "looppeer":
      return `# ${remove ? "stop" : "start"}: ${printBackendObject(object)}`;
    case "xfrmpolicy":
      return remove
        ? `ip xfrm policy delete src ${object.src} dst ${object.dst} dir ${object.direction}`
        : `ip xfrm policy update src ${object.src} dst ${object.dst} dir ${object.direction} ${template(object)}`;
    case "ikedaemon":
      return `# ${remove ? "stop" : "start"}: charon`;
    case "ike":
      return `swanctl ${remove ? `--terminate --ike ${object.name}` : `--initiate --ike ${object.name} --child ${object.child}`}`;
    case "command":
      return commandLine(object, remove ? object.remove : object.add);
  }
}

function peerOptions({ endpoint, keepaliveSeconds, presharedKey }: WireguardPeer): string {
  const keepalive = keepaliveSeconds === 0 ? "off" : `${keepaliveSeconds}`;
  const secret = presharedKey === undefined ? "" : " preshared-key /dev/stdin";
  return `endpoint ${hostPort(endpoint.address, endpoint.port)} persistent-keepalive ${keepalive}${secret}`;
}

function template({ tunnel, reqid }: XfrmPolicy): string {
  return `tmpl src ${tunnel.src} dst ${tunnel.dst} proto esp reqid ${reqid} mode tunnel`;
}

/** What an effect that stands is changed by: what undoes it, and the new command. */
export function effectChange(desired: CommandEffect, actual: CommandEffect): string {
  if (hasSameEffect(desired, actual)) return `# noted: ${commandTitle(desired, desired.remove)}`;
  return [commandLine(actual, actual.remove), commandLine(desired, desired.add)]
    .filter((line) => line !== "")
    .join("\n");
}

/** Longer or less readable data for standard input are only spoken of. */
const SHOWN_STDIN = /^[ -~]{1,200}$/;

/** The text runs as it is; what comes from a lease stands quoted before it. */
function commandLine({ environment, stdin }: CommandEffect, { option, text }: ConfiguredCommand): string {
  if (text === "") return `# no ${option}`;
  const assignments = Object.entries(environment).map(([name, value]) => `${name}=${quoted(value)} `);
  const shown = stdin === "" || SHOWN_STDIN.test(stdin);
  const input = shown ? `printf '%s\\n' ${quoted(stdin)}` : `cat BACKEND_DATA_OF_${stdin.length}_CHARACTERS`;
  return `${input} | ${assignments.join("")}sh -c ${quoted(text)}`;
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function hostPort(address: Address, port: number): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}
