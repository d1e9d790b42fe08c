// host-gw: the contract of backends on plain IP networks.

import { FAMILIES } from "../../src/ip/family.ts";
import { backendContract } from "./backend_contract.ts";
import { DUAL_STACK } from "./nodes.ts";
import { ROUTE_DRIFTS } from "./route_drifts.ts";

const HOST_GW = { ...DUAL_STACK, Backend: { Type: "host-gw" } };

backendContract({ title: "host-gw", config: HOST_GW, families: FAMILIES, drifts: ROUTE_DRIFTS });
