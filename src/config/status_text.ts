// The status in one line, for people who ask the supervisor: `systemctl status flanneld` shows it, sent as STATUS= of sd_notify(3). It says above all what is
// waited for, since docker and whatever else is ordered after flanneld waits with it.

import type { PerFamily } from "../ip/family.ts";
import type { Status } from "./status.ts";

/** One line without a full stop; a cause of several lines is joined, as a newline would begin another variable. */
export function statusText(status: Status): string {
  const { phase, cause } = status;
  const because = cause === undefined ? "" : `: ${oneLine(cause)}`;
  switch (phase) {
    case "config":
      return `waiting for the network's configuration${because}${storeText(status)}`;
    case "identity":
      return `choosing the node's identity${because}${storeText(status)}`;
    case "lease":
      return `waiting for a lease${because}${storeText(status)}`;
    case "programming":
      return `waiting for the kernel to take ${prefixes(status.subnet) || "the subnet"}${because}${storeText(status)}`;
    case "ready":
      return `ready: ${[prefixes(status.subnet), ...counts(status)].filter(Boolean).join(", ")}${storeText(status)}${warningText(status)}`;
    case "stopping":
      return "stopping; the data plane stays as it is";
    case "failed":
      return `failed${because}`;
  }
}

function oneLine(text: string): string {
  return text.trim().replaceAll(/\s*\n\s*/g, "; ");
}

function prefixes({ ipv4, ipv6 }: PerFamily<string> = {}): string {
  return [ipv4, ipv6].filter((prefix) => prefix !== undefined).join(" and ");
}

/** Peers, and what is wrong as far as something is. */
function counts({ peers, refused, failing }: Status): string[] {
  return [
    ...(peers === undefined ? [] : [`${peers} ${peers === 1 ? "peer" : "peers"}`]),
    ...(refused ? [`${refused} refused`] : []),
    ...(failing ? [`${failing} kernel objects failing`] : []),
  ];
}

function warningText({ warning }: Status): string {
  return warning === undefined ? "" : `; ${oneLine(warning)}`;
}

/** Nothing as long as the store answers. */
function storeText({ store }: Status): string {
  return !store || store.reachable ? "" : `; the store (${store.kind}) has not answered since ${store.since}`;
}
