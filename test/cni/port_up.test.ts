import { afterEach, expect, test } from "bun:test";
import { waitUntilUp } from "../../src/cni/bridge/port_up.ts";
import { IF_OPER_UP } from "../../src/netlink/link.ts";
import { findLinkBrief } from "../../src/netlink/link_brief.ts";
import { RequestSocket } from "../../src/netlink/socket.ts";
import { inNamespace } from "../../src/sys/netns.ts";
import { Namespace } from "../kernel/linux_world.ts";

const namespaces: Namespace[] = [];
afterEach(() => {
  for (const namespace of namespaces.splice(0)) namespace[Symbol.dispose]();
});

test("waitUntilUp returns when the other end of a cable comes up, and when patience is at its end", () => {
  const namespace = new Namespace();
  namespaces.push(namespace);
  namespace.run("ip link add va type veth peer name vb; ip link set va up");
  inNamespace(namespace.path, () => {
    using socket = new RequestSocket();
    const state = () => findLinkBrief(socket, { name: "va" });
    const index = state()?.index ?? 0;
    waitUntilUp(socket, index, 50);
    expect(state()?.operstate).not.toBe(IF_OPER_UP);
    const child = Bun.spawn(["sh", "-c", "sleep 0.1; ip link set vb up"]);
    waitUntilUp(socket, index, 20_000);
    expect(state()?.operstate).toBe(IF_OPER_UP);
    child.kill();
  });
});
