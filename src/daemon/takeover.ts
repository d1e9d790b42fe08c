// What another flannel has left on the external interface. Go's host-gw, and its vxlan with DirectRouting, make routes of protocol boot, the default of `ip`
// and of its library, through an interface that is not flannel's: nothing on such a route says whose it is. One that we want is replaced where it
// stands. One that leads wrong is taken for upstream's, and so removed, only when all of this holds, and only once, at take-over:
//
//   it leads through the external interface, is of protocol boot, and has no metric of its own
//   its destination has a subnet's length, inside the network
//   its gateway is the public IP of a node that has a lease now, and that node's subnet is another
//
// A route to a node that is gone altogether is left alone: nothing tells it from an operator's, and once a node leases that subnet again, it is replaced.

import { familiesOf } from "../ip/family.ts";
import { contains, prefixLength } from "../ip/prefix.ts";
import { IP6_DEFAULT_METRIC } from "../kernel/observer.ts";
import type { Lease } from "../lease/lease.ts";
import { RTPROT_BOOT } from "../netlink/route.ts";
import { objectKey, type Route } from "../state/object.ts";
import type { Host } from "./host.ts";
import type { Place, Plan } from "./prepare.ts";

/** Whether another flannel's routes to peers seem to be there: then a data plane stands that a start which fails must not take away. */
export function hasUpstreamRoutes(host: Host, networks: Plan["networks"]): boolean {
  return familiesOf(networks).some((family) =>
    host.routesOf(family, RTPROT_BOOT).some(({ dst, gateway }) => {
      const network = networks[family];
      return network !== undefined && gateway !== undefined && contains(network, dst);
    }),
  );
}

/** Stale routes of another flannel. `desired`: says whether a route's key is wanted, and so replaced anyway. */
export function staleRoutes(
  { config, networks }: Pick<Plan, "config" | "networks">,
  { external: { link, address } }: Pick<Place, "external">,
  host: Host,
  leases: Iterable<Lease>,
  desired: { has(key: ReturnType<typeof objectKey.route>): boolean },
): Route[] {
  const all = [...leases];
  return familiesOf(address).flatMap((family) => {
    const network = networks[family];
    const subnetLength = config.ranges[family]?.subnetLength;
    if (!network) return [];
    const nodes = new Set(all.map((lease) => lease.publicIp[family]));
    const right = new Set(all.map((lease) => `${lease.subnet[family]} ${lease.publicIp[family]}`));
    const metric = family === "ipv6" ? IP6_DEFAULT_METRIC : 0;
    return host
      .routesThrough(family, link.index, RTPROT_BOOT)
      .filter(
        ({ dst, gateway, priority = 0, hops, nexthopId }) =>
          priority === metric &&
          !hops &&
          nexthopId === undefined &&
          contains(network, dst) &&
          prefixLength(dst) === subnetLength &&
          gateway !== undefined &&
          nodes.has(gateway) &&
          !right.has(`${dst} ${gateway}`) &&
          !desired.has(objectKey.route(dst)),
      )
      .map(({ dst, gateway }) => ({ kind: "route", dst, dev: link.name, gateway, onlink: false, form: "plain" }));
  });
}
