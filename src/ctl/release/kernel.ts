// Reads what flanneld left in the kernel, and takes the steps that hand it over.

import { familiesOf, type PerFamily } from "../../ip/family.ts";
import type { Prefix } from "../../ip/prefix.ts";
import { type Answer, AnswerError, NetlinkError } from "../../netlink/error.ts";
import { deleteLink } from "../../netlink/link.ts";
import { listAddresses, listLinks, listNexthops, listRoutes } from "../../netlink/list.ts";
import type { NexthopMessage } from "../../netlink/nexthop.ts";
import { deleteNexthop } from "../../netlink/nexthop.ts";
import { putRoute, RT_TABLE_MAIN } from "../../netlink/route.ts";
import type { RequestSocket } from "../../netlink/socket.ts";
import type { MessageWriter } from "../../netlink/writer.ts";
import { ROUTE_PROTOCOL } from "../../state/print.ts";
import { ENODEV, ENOENT, EOPNOTSUPP } from "../../sys/error.ts";
import type { Found, Step } from "./steps.ts";

export function look(socket: RequestSocket, networks: PerFamily<Prefix>): Found {
  return {
    links: listLinks(socket),
    addresses: listAddresses(socket),
    nexthops: nexthopObjects(socket),
    routes: familiesOf(networks).flatMap((family) =>
      listRoutes(socket, { family, table: RT_TABLE_MAIN, protocol: ROUTE_PROTOCOL }),
    ),
  };
}

/** None on a kernel before 5.3, which knows no such objects. */
function nexthopObjects(socket: RequestSocket): NexthopMessage[] {
  try {
    return listNexthops(socket);
  } catch (error) {
    if (error instanceof AnswerError && error.errno === EOPNOTSUPP) return [];
    throw error;
  }
}

/**
 * Takes all steps and returns the faults, one line each. A nexthop object whose route the kernel would not replace stays: deleting the object would delete the
 * route. What is gone already needs no deleting.
 */
export function take(socket: RequestSocket, steps: readonly Step[]): readonly string[] {
  const faults: string[] = [];
  const kept = new Set<number>();
  for (const kind of ["route", "nexthop", "link"] as const) {
    const due = steps.filter((step) => step.kind === kind && !(step.kind === "nexthop" && kept.has(step.id)));
    const answers = socket.batch((writer) => {
      for (const step of due) write(writer, step);
    });
    for (const [i, step] of due.entries()) {
      const answer = answers[i];
      if (!answer || (step.verb === "delete" && isGone(answer))) continue;
      if (step.kind === "route" && step.nexthopId !== undefined) kept.add(step.nexthopId);
      faults.push(new NetlinkError(step.verb, objectOf(step), answer).message);
    }
  }
  return faults;
}

function write(writer: MessageWriter, step: Step): void {
  switch (step.kind) {
    case "route":
      putRoute(writer, step.route, "replace"); // atomic: a packet goes by the old route or by the new one
      break;
    case "nexthop":
      deleteNexthop(writer, step.id);
      break;
    case "link":
      deleteLink(writer, step.index);
      break;
  }
}

function isGone({ errno }: Answer): boolean {
  return errno === ENOENT || errno === ENODEV;
}

/** "ip -6 route replace DST …" → "route DST …" */
function objectOf({ command, verb }: Step): string {
  return command.replace(/^ip (?:-6 )?/, "").replace(` ${verb}`, "");
}
