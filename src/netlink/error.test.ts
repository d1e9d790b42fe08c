import { expect, test } from "bun:test";
import { AnswerError, NetlinkError } from "./error.ts";

const ROUTE = "route 10.5.2.0/24 via 10.5.2.0 dev flannel.1 onlink";

test.each([
  [
    "says what is missing when permission is",
    new NetlinkError("add", ROUTE, { errno: 1, kernelMessage: undefined }),
    `cannot add ${ROUTE}: EPERM (Operation not permitted); flanneld needs CAP_NET_ADMIN`,
  ],
  [
    "quotes the kernel",
    new NetlinkError("add", ROUTE, { errno: 101, kernelMessage: "Nexthop has invalid gateway" }),
    `cannot add ${ROUTE}: ENETUNREACH (Network is unreachable): kernel says "Nexthop has invalid gateway"`,
  ],
  [
    "puts advice last",
    new NetlinkError("add", "link flannel.1", { errno: 95, kernelMessage: "Unknown device type" }, "load module vxlan"),
    'cannot add link flannel.1: EOPNOTSUPP (Operation not supported): kernel says "Unknown device type"; load module vxlan',
  ],
])("NetlinkError %s", (_, error, message) => {
  expect(error.message).toBe(message);
});

test("NetlinkError takes an AnswerError for its reason", () => {
  const answer = new AnswerError({ errno: 17, kernelMessage: undefined, offset: undefined });
  const error = new NetlinkError("add", ROUTE, answer);
  expect([error.errno, error.errnoName, error.operation, error.object]).toEqual([17, "EEXIST", "add", ROUTE]);
});
