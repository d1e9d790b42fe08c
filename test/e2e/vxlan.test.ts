// vxlan: the contract of backends, with and without DirectRouting.

import { FAMILIES } from "../../src/ip/family.ts";
import { backendContract } from "./backend_contract.ts";
import { DRIFTS } from "./drift.ts";
import { DUAL_STACK, type Node } from "./nodes.ts";
import { ROUTE_DRIFTS } from "./route_drifts.ts";

/** The MAC is remembered by the device and the lease. */
const forget = (_: Node) => "ip link delete flannel.1; ip link delete flannel-v6.1";

backendContract({ title: "vxlan", config: DUAL_STACK, families: FAMILIES, drifts: DRIFTS, forget });

/** Of drifts of vxlan those that do not damage a peer's FDB entry, neighbour or nexthop: direct peers have none on the device. */
const ON_DEVICE = DRIFTS.filter(({ name }) => /flannel|MTU|MAC rewritten|address/.test(name));

backendContract({
  title: "vxlan with DirectRouting",
  config: { ...DUAL_STACK, Backend: { Type: "vxlan", DirectRouting: true } },
  families: FAMILIES,
  drifts: [...ON_DEVICE, ...ROUTE_DRIFTS],
  forget,
});
