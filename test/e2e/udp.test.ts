// The udp backend: the contract of backends.

import { backendContract } from "./backend_contract.ts";
import { UDP, UDP_DRIFTS, udpSockets } from "./udp.ts";

backendContract({
  title: "udp",
  config: UDP,
  families: ["ipv4"],
  drifts: UDP_DRIFTS,
  oneRoute: true,
  also: udpSockets,
  // Nobody reads the device while no flanneld runs: a second at most, of a thousand packets a second.
  restartLoss: 1_000,
});
