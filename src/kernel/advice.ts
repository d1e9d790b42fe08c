// What an answer of the kernel's means where its own words do not say: nothing to do, or another program or link in the way, and how to see it.

import { type KernelObject, type Link, objectKey } from "../state/object.ts";
import { EADDRINUSE, EADDRNOTAVAIL, EEXIST, ENODEV, ENOENT, EOPNOTSUPP, ESRCH } from "../sys/error.ts";
import type { Mirror } from "./mirror.ts";

/** undefined when there is nothing to say. */
export function adviceFor(object: KernelObject, errno: number, mirror: Mirror): string | undefined {
  if (object.kind === "link" && errno === EEXIST) return takenAdvice(object);
  if (object.kind === "link" && errno === EOPNOTSUPP) return missingModuleAdvice(object);
  // A vxlan opens its socket only when it is set up.
  const link = object.kind === "up" ? mirror.get(objectKey.link(object.dev))?.object : undefined;
  if (link?.kind !== "link" || link.info.type !== "vxlan" || errno !== EADDRINUSE) return undefined;
  return `another program has UDP port ${link.info.port}: see ss -lunp, or set Backend.Port`;
}

function missingModuleAdvice({ info: { type } }: Link): string {
  return `this kernel has no ${type} devices: load its module (modprobe ${type}), or choose another backend`;
}

function takenAdvice({ name, info }: Link): string {
  const other = `another link has the name ${name}`;
  if (info.type !== "vxlan") return `${other}: see ip -d link show ${name}`;
  const { vni, port } = info;
  return `${other}, or VNI ${vni} on port ${port}: see ip -d link show type vxlan, or set Backend.VNI or Backend.Port`;
}

/** Errors that say that there is nothing to delete any more. */
export function isGone(errno: number): boolean {
  return errno === ENOENT || errno === ESRCH || errno === ENODEV || errno === EADDRNOTAVAIL;
}
