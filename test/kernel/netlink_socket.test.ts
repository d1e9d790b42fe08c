// How the sockets behave at the kernel's edges: batches with refusals, large dumps, dumps that a change disturbs,
// subscriptions that overrun.

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { readdirSync, readlinkSync } from "node:fs";
import type { Address } from "../../src/ip/address.ts";
import type { Mac } from "../../src/ip/mac.ts";
import type { Prefix } from "../../src/ip/prefix.ts";
import { putAddress } from "../../src/netlink/address.ts";
import { DumpInterrupted } from "../../src/netlink/error.ts";
import { addLink, decodeLink, deleteLink, dumpLinks } from "../../src/netlink/link.ts";
import { findLink, listLinks, listNeighbours, listNexthops, listRoutes } from "../../src/netlink/list.ts";
import { putNeighbour } from "../../src/netlink/neighbour.ts";
import { putNexthop, RTNH_F_ONLINK } from "../../src/netlink/nexthop.ts";
import {
  decodeNotifications,
  type Notification,
  RTNLGRP_IPV4_ROUTE,
  RTNLGRP_LINK,
  RTNLGRP_NEIGH,
} from "../../src/netlink/notification.ts";
import { NotificationSocket } from "../../src/netlink/notification_socket.ts";
import { putRoute } from "../../src/netlink/route.ts";
import { RequestSocket } from "../../src/netlink/socket.ts";
import { EINVAL, ENODEV, ENOENT, SysError } from "../../src/sys/error.ts";
import { inNamespace } from "../../src/sys/netns.ts";
import { Namespace } from "./linux_world.ts";

const MAC = "3e:00:00:00:00:02" as Mac;
const address = (peer: number) => `10.${5 + (peer >> 8)}.${peer & 255}.0` as Address;
const subnet = (peer: number) => `${address(peer)}/24` as Prefix;

let namespace: Namespace;
let socket: RequestSocket;
/**
 * ifindex of a vxlan device without a parent: such a device has its carrier at once, a veth some milliseconds after its
 * other end is up.
 */
let flannel1: number;
beforeEach(() => {
  namespace = new Namespace();
  socket = new RequestSocket({ namespace: namespace.path });
  const info = { type: "vxlan", vni: 1, local: "192.0.2.1" as Address, port: 8472, learning: false } as const;
  socket.request((writer) => addLink(writer, { name: "flannel.1", up: true, info }));
  flannel1 = findLink(socket, { name: "flannel.1" })?.index ?? 0;
  // Before the first address there is no table in which a gateway could be looked up.
  socket.request((writer) => putAddress(writer, { index: flannel1, address: "10.5.0.0/32" as Prefix }, "add"));
});
afterEach(() => {
  socket[Symbol.dispose]();
  namespace[Symbol.dispose]();
});

/** Waits until `condition` holds; false when it does not within ten seconds. */
async function eventually(condition: () => boolean): Promise<boolean> {
  for (let waitedMs = 0; waitedMs < 10_000; waitedMs += 5) {
    if (condition()) return true;
    await Bun.sleep(5);
  }
  return condition();
}

describe("batch", () => {
  test("matches each refusal to its message, and does the rest", () => {
    const outcomes = socket.batch((writer) => {
      for (let peer = 0; peer < 1000; peer++) {
        const index = peer % 100 === 17 ? 4711 : flannel1;
        putNeighbour(writer, { index, address: address(peer), mac: MAC }, "replace");
      }
    });
    expect(outcomes).toHaveLength(1000);
    const refused = [...outcomes.keys()].filter((peer) => outcomes[peer]);
    expect(refused).toEqual([17, 117, 217, 317, 417, 517, 617, 717, 817, 917]);
    expect(new Set(refused.map((peer) => outcomes[peer]?.errno))).toEqual(new Set([ENODEV]));
    expect(listNeighbours(socket, { index: flannel1, family: "ipv4" })).toHaveLength(990);
  });

  test("matches refusals also when the last message of a send is one, or all are", () => {
    const outcomes = socket.batch((writer) => {
      for (let id = 1; id <= 3000; id++) putNexthop(writer, { id, oif: 4711, gateway: address(id) }, "add");
    });
    expect(outcomes.filter((outcome) => outcome?.errno === ENODEV || outcome?.errno === EINVAL)).toHaveLength(3000);
    expect(outcomes.every((outcome) => outcome?.kernelMessage)).toBe(true);
  });

  test("of nothing is nothing", () => {
    expect(socket.batch(() => {})).toEqual([]);
  });

  test("tells a process without CAP_NET_ADMIN EPERM for every message", () => {
    const program = `
      const { RequestSocket } = await import("${import.meta.dir}/../../src/netlink/socket.ts");
      const { deleteNexthop } = await import("${import.meta.dir}/../../src/netlink/nexthop.ts");
      using socket = new RequestSocket();
      const outcomes = socket.batch((writer) => { for (let id = 1; id <= 5000; id++) deleteNexthop(writer, id); });
      console.log(outcomes.length, [...new Set(outcomes.map((outcome) => outcome?.errno))].join());`;
    // Still root, who may read this program wherever it lies.
    const nobody = ["setpriv", "--inh-caps=-net_admin", "--bounding-set=-net_admin"];
    const command = ["nsenter", `--net=${namespace.path}`, ...nobody, process.execPath, "-e", program];
    const { stdout, stderr } = Bun.spawnSync(command, { cwd: "/" });
    expect(stdout.toString() + stderr.toString()).toBe("5000 1\n");
  });
});

test("a request may ask the socket something while it is written", () => {
  const indexOf = (name: string) => findLink(socket, { name })?.index ?? 0;
  socket.request((writer) => deleteLink(writer, indexOf("flannel.1")));
  expect(findLink(socket, { name: "flannel.1" })).toBeUndefined();
});

test("a socket that was disposed of is not used", () => {
  const gone = new RequestSocket({ namespace: namespace.path });
  gone[Symbol.dispose]();
  gone[Symbol.dispose]();
  expect(() => listLinks(gone)).toThrow("cannot use netlink socket: it is disposed of");
});

describe("dump", () => {
  test("reads 5,000 routes through 5,000 nexthops, each once", () => {
    const outcomes = socket.batch((writer) => {
      for (let peer = 1; peer <= 5000; peer++) {
        const through = { oif: flannel1, flags: RTNH_F_ONLINK, protocol: 70 };
        putNexthop(writer, { id: peer, gateway: address(peer), ...through }, "add");
      }
      for (let peer = 1; peer <= 5000; peer++) {
        putRoute(writer, { dst: subnet(peer), nexthopId: peer, protocol: 70 }, "add");
      }
    });
    expect(outcomes.find((outcome) => outcome !== undefined)).toBeUndefined();
    expect(listNexthops(socket, { oif: flannel1 })).toHaveLength(5000);
    const routes = listRoutes(socket, { family: "ipv4", protocol: 70 });
    expect(new Set(routes.map((route) => `${route.dst} ${route.nexthopId} ${route.gateway} ${route.oif}`)).size).toBe(
      5000,
    );
    expect(routes).toHaveLength(5000);
  });

  describe("of more links than one datagram holds", () => {
    beforeEach(() => {
      const outcomes = socket.batch((writer) => {
        for (let i = 0; i < 60; i++) addLink(writer, { name: `bridge${i}`, info: { type: "bridge" } });
      });
      expect(outcomes.find((outcome) => outcome !== undefined)).toBeUndefined();
    });

    test("is made again when a change disturbed it", () => {
      using other = new RequestSocket({ namespace: namespace.path });
      let disturbed = false;
      let seen = 0;
      const links = socket.dump(dumpLinks, (message) => {
        seen++;
        if (!disturbed)
          other.request((writer) => deleteLink(writer, findLink(other, { name: "bridge59" })?.index ?? 0));
        disturbed = true;
        return decodeLink(message)?.name;
      });
      expect(links).toHaveLength(61);
      expect(links).not.toContain("bridge59");
      expect(seen).toBeGreaterThan(61);
    });

    test("is given up when changes do not end, and the socket still works", () => {
      using other = new RequestSocket({ namespace: namespace.path });
      let mtu = 1000;
      const disturb = () => {
        other.request((writer) => addLink(writer, { name: `more${mtu++}`, info: { type: "bridge" } }));
        return undefined;
      };
      let countdown = 0;
      expect(() => socket.dump(dumpLinks, () => (countdown++ % 40 === 0 ? disturb() : undefined))).toThrow(
        DumpInterrupted,
      );
      expect(listLinks(socket).length).toBeGreaterThan(62);
    });

    test("refuses a reader that uses the socket", () => {
      const attempt = () => socket.dump(dumpLinks, () => findLink(socket, { name: "lo" }));
      expect(attempt).toThrow("cannot use netlink socket: it is in the middle of an exchange");
      expect(listLinks(socket)).toHaveLength(62);
    });

    test("leaves nothing behind when the reader throws in the middle", () => {
      const attempt = () =>
        socket.dump(dumpLinks, () => {
          throw new RangeError("reader");
        });
      expect(attempt).toThrow(RangeError);
      expect(listLinks(socket)).toHaveLength(62);
    });
  });
});

describe("NotificationSocket", () => {
  test("reports changes, with the port of who made them", async () => {
    const seen: Notification[] = [];
    using _subscription = new NotificationSocket({
      groups: [RTNLGRP_LINK, RTNLGRP_IPV4_ROUTE],
      namespace: namespace.path,
      onMessages: (datagram) => seen.push(...decodeNotifications(datagram)),
      onOverrun: () => seen.push({} as Notification),
      onFailure: (error) => expect(error).toBeUndefined(),
    });
    socket.request((writer) => putRoute(writer, { dst: subnet(2), oif: flannel1 }, "add"));
    namespace.run("ip route add 10.9.0.0/24 dev flannel.1; ip link set flannel.1 mtu 1400");
    const mtuSeen = () => seen.some(({ object }) => object.kind === "link" && object.mtu === 1400);
    expect(await eventually(mtuSeen)).toBe(true);
    const routes = seen.filter(({ object }) => object.kind === "route");
    expect(routes).toMatchObject([{ object: { dst: subnet(2) } }, { object: { dst: "10.9.0.0/24" as Prefix } }]);
    expect(routes.map(({ portId }) => portId === socket.portId)).toEqual([true, false]);
    expect(routes.every(({ change, sequence }) => change === "new" && sequence !== 0)).toBe(true);
  });

  test("with exceptPortId reports what others cause, and not what that socket does", async () => {
    using other = new RequestSocket({ namespace: namespace.path });
    const reported: string[] = [];
    using _subscription = new NotificationSocket({
      groups: [RTNLGRP_NEIGH],
      exceptPortId: socket.portId,
      namespace: namespace.path,
      onMessages: (datagram) => {
        for (const { object } of decodeNotifications(datagram)) {
          if (object.kind === "neighbour") reported.push(object.address);
        }
      },
      onOverrun: () => reported.push("overrun"),
      onFailure: (error) => reported.push(String(error)),
    });
    const neighbour = (peer: number) => ({ index: flannel1, address: address(peer), mac: MAC });
    socket.request((writer) => putNeighbour(writer, neighbour(1), "replace"));
    other.request((writer) => putNeighbour(writer, neighbour(2), "replace"));
    socket.request((writer) => putNeighbour(writer, neighbour(3), "replace"));
    other.request((writer) => putNeighbour(writer, neighbour(4), "replace"));
    expect(await eventually(() => reported.includes(address(4)))).toBe(true);
    expect(reported).toEqual([address(2), address(4)]);
  });

  test("tells of an overrun once it is subscribed again, and leaks no file", async () => {
    const seen: string[] = [];
    let overruns = 0;
    let listed = 0;
    const filesBefore = readdirSync("/proc/self/fd").length;
    {
      using _subscription = new NotificationSocket({
        groups: [RTNLGRP_NEIGH],
        namespace: namespace.path,
        receiveBufferBytes: 4096,
        onMessages(datagram) {
          for (const { object } of decodeNotifications(datagram))
            if (object.kind === "neighbour") seen.push(object.address);
        },
        onOverrun() {
          overruns++;
          listed = listNeighbours(socket, { index: flannel1, family: "ipv4" }).length;
        },
        onFailure: (error) => expect(error).toBeUndefined(),
      });
      for (let round = 1; round <= 5; round++) {
        socket.batch((writer) => {
          for (let peer = 0; peer < 500; peer++) {
            putNeighbour(writer, { index: flannel1, address: address(round * 500 + peer), mac: MAC }, "replace");
          }
        });
        expect(await eventually(() => overruns >= round)).toBe(true);
        expect(listed).toBe(round * 500);
      }
      socket.request((writer) => putNeighbour(writer, { index: flannel1, address: address(9), mac: MAC }, "replace"));
      expect(await eventually(() => seen.includes(address(9)))).toBe(true);
    }
    expect(await eventually(() => readdirSync("/proc/self/fd").length <= filesBefore)).toBe(true);
  });

  test("is silent after it is disposed of", async () => {
    let calls = 0;
    const count = () => {
      calls++;
    };
    const options = { groups: [RTNLGRP_LINK], namespace: namespace.path };
    const subscription = new NotificationSocket({ ...options, onMessages: count, onOverrun: count, onFailure: count });
    namespace.run("ip link set flannel.1 mtu 1400");
    subscription[Symbol.dispose]();
    await Bun.sleep(50);
    expect(calls).toBe(0);
  });
});

describe("inNamespace", () => {
  const own = () => readlinkSync("/proc/thread-self/ns/net");

  test("acts there and comes back, also when the act throws", () => {
    const before = own();
    expect(inNamespace(namespace.path, own)).not.toBe(before);
    expect(own()).toBe(before);
    const attempt = () =>
      inNamespace(namespace.path, () => {
        throw new RangeError("act");
      });
    expect(attempt).toThrow(RangeError);
    expect(own()).toBe(before);
  });

  test("stays here when there is no such namespace", () => {
    const before = own();
    expect(() => inNamespace("/var/run/netns/none", own)).toThrow(new SysError("open", ENOENT, "/var/run/netns/none"));
    expect(own()).toBe(before);
  });
});
