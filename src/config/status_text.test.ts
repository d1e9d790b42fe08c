import { expect, test } from "bun:test";
import type { Prefix } from "../ip/prefix.ts";
import type { Status } from "./status.ts";
import { statusText } from "./status_text.ts";

const since = "2026-01-02T03:04:05.000Z";
const base: Omit<Status, "phase"> = { version: "0.1.0", pid: 17, startTime: 123_456, since };
const subnet = { ipv4: "10.5.1.0/24" as Prefix };
const dualStack = { ...subnet, ipv6: "fd00:5:0:1::/64" as Prefix };
const silent = { kind: "etcd3", reachable: false, since };
const answering = { ...silent, reachable: true };

test.each<[Pick<Status, "phase"> & Partial<Status>, string]>([
  [{ phase: "config" }, "waiting for the network's configuration"],
  [
    { phase: "config", cause: "/coreos.com/network/config is not there", store: answering },
    "waiting for the network's configuration: /coreos.com/network/config is not there",
  ],
  [
    { phase: "config", store: silent },
    `waiting for the network's configuration; the store (etcd3) has not answered since ${since}`,
  ],
  [{ phase: "identity" }, "choosing the node's identity"],
  [{ phase: "lease", cause: "no subnet is free" }, "waiting for a lease: no subnet is free"],
  [{ phase: "lease", store: silent }, `waiting for a lease; the store (etcd3) has not answered since ${since}`],
  [{ phase: "programming" }, "waiting for the kernel to take the subnet"],
  [
    { phase: "programming", subnet, cause: "cannot add flannel.1: EPERM" },
    "waiting for the kernel to take 10.5.1.0/24: cannot add flannel.1: EPERM",
  ],
  [{ phase: "ready", subnet, store: answering }, "ready: 10.5.1.0/24"],
  [{ phase: "ready", subnet, peers: 0 }, "ready: 10.5.1.0/24, 0 peers"],
  [{ phase: "ready", subnet: dualStack, peers: 1 }, "ready: 10.5.1.0/24 and fd00:5:0:1::/64, 1 peer"],
  [
    { phase: "ready", subnet, peers: 2, refused: 1, failing: 3, store: silent },
    `ready: 10.5.1.0/24, 2 peers, 1 refused, 3 kernel objects failing; the store (etcd3) has not answered since ${since}`,
  ],
  [{ phase: "ready", subnet, peers: 1, warning: "a is b\nc stays" }, "ready: 10.5.1.0/24, 1 peer; a is b; c stays"],
  [{ phase: "stopping", subnet }, "stopping; the data plane stays as it is"],
  [{ phase: "failed", cause: "a: b\n  READY=1\n" }, "failed: a: b; READY=1"],
  [{ phase: "failed" }, "failed"],
])("statusText says of %j: %s", (fields, text) => {
  expect(statusText({ ...base, ...fields })).toBe(text);
});
