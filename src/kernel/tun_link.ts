// Making a TUN device, which is no rtnetlink message: it comes of opening /dev/net/tun, and is then a link like others.

import type { Change } from "../state/operation.ts";
import { EBUSY, EINVAL, ENOENT, SysError } from "../sys/error.ts";
import { inNamespace } from "../sys/netns.ts";
import { makeTun } from "../sys/tun.ts";
import type { Outcome } from "./driver.ts";

/** The name of the TUN device that an operation adds; undefined when it does something else. */
export function newTun({ verb, object }: Change): string | undefined {
  return verb === "add" && object.kind === "link" && object.info.type === "tun" ? object.name : undefined;
}

/** Makes the device, persistent, with the kernel's own MTU. `namespace`: path of the network namespace to make it in; this one by default. */
export function makeTunLink(name: string, namespace: string | undefined): Outcome {
  try {
    if (namespace === undefined) makeTun(name);
    else inNamespace(namespace, () => makeTun(name));
    return undefined;
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    const advice = ADVICE[error.errno];
    return new Error(`cannot add link ${name}: ${error.message}${advice ? `; ${advice(name)}` : ""}`);
  }
}

const ADVICE: Readonly<Record<number, (name: string) => string>> = {
  [ENOENT]: () => "the kernel's module tun is missing: run modprobe tun, or give the container /dev/net/tun",
  [EBUSY]: (name) => `another program has it open, or a link has the name ${name}: see ip -d link show ${name}`,
  [EINVAL]: (name) => `a link of another kind has the name ${name}: see ip -d link show ${name}`,
};
