// Tracked connections on the real kernel: made and listed by `conntrack`, found and deleted by netlink.

import { expect, test } from "bun:test";
import {
  type ConnectionFilter,
  decodeConnection,
  deleteConnection,
  dumpConnections,
  IPPROTO_UDP,
} from "../../src/netlink/conntrack.ts";
import { NETLINK_NETFILTER } from "../../src/netlink/open.ts";
import { RequestSocket } from "../../src/netlink/socket.ts";
import { Namespace } from "./linux_world.ts";

const ADD = "conntrack -I -t 60";

test("connections are found by protocol and port, and deleted one by one", () => {
  using namespace = new Namespace();
  namespace.run(`
    ${ADD} -p udp -s 192.0.2.2 -d 192.0.2.1 --sport 4000 --dport 5353
    ${ADD} -p udp -s 192.0.2.3 -d 192.0.2.9 --sport 4000 --dport 5353
    ${ADD} -p udp -s 192.0.2.3 -d 192.0.2.9 --sport 5353 --dport 53
    ${ADD} -p tcp --state ESTABLISHED -u SEEN_REPLY -s 192.0.2.2 -d 192.0.2.1 --sport 4000 --dport 5353
    ${ADD} -p udp -s 2001:db8::2 -d 2001:db8::1 --sport 4000 --dport 5353`);
  using socket = new RequestSocket({ namespace: namespace.path, protocol: NETLINK_NETFILTER });
  const found = (filter: ConnectionFilter) =>
    socket.dump((writer) => dumpConnections(writer, filter), decodeConnection);
  const to5353 = { family: "ipv4", protocol: IPPROTO_UDP, dstPort: 5353 } as const;

  const connections = found(to5353);
  expect(connections.map(({ dst, dstPort, protocol }) => ({ dst, dstPort, protocol }))).toEqual(
    expect.arrayContaining([
      { dst: "192.0.2.1", dstPort: 5353, protocol: 17 },
      { dst: "192.0.2.9", dstPort: 5353, protocol: 17 },
    ] as never[]),
  );
  expect(connections).toHaveLength(2);
  expect(found({ ...to5353, family: "ipv6" })).toMatchObject([{ family: "ipv6", dst: "2001:db8::1", dstPort: 5353 }]);

  const own = connections.filter(({ dst }) => dst === "192.0.2.9");
  const deleteOwn = () => socket.batch((writer) => own.map((connection) => deleteConnection(writer, connection)));
  expect(deleteOwn()).toEqual([undefined]);
  expect(deleteOwn()).toMatchObject([{ errno: 2 }]);
  const left = namespace.run("conntrack -L -f ipv4").trim().split("\n");
  expect(left).toHaveLength(3);
  expect(left.join("\n")).not.toContain("src=192.0.2.3 dst=192.0.2.9 sport=4000");
});
