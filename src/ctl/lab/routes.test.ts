import { describe, expect, test } from "bun:test";
import { parseRoutes } from "./routes.ts";

// Captured on a lab's node: ip -4 -json route show, and (shortened) ip -6 -json route show, iproute2 6.1.
const IPV4 = `[{"dst":"default","gateway":"192.168.77.1","dev":"eth0","flags":[]},{"dst":"10.244.63.0/24",
"nhid":2128084992,"gateway":"10.244.63.0","dev":"flannel.1","protocol":"70","flags":["onlink"]},
{"dst":"10.244.87.0/24","dev":"cni0","protocol":"kernel","scope":"link","prefsrc":"10.244.87.1","flags":[]}]`;
const IPV6 = `[{"dst":"fd00:10:244:3f::/64","nhid":1639710720,"gateway":"fd00:10:244:3f::","dev":"flannel-v6.1",
"protocol":"70","metric":1024,"flags":["onlink"],"pref":"medium"},{"dst":"fd00:10:244:57::","dev":"flannel-v6.1",
"protocol":"kernel","metric":256,"flags":[],"pref":"medium"}]`;

describe("parseRoutes", () => {
  test.each([
    { name: "IPv4 without the default route", output: IPV4, routes: ["10.244.63.0/24", "10.244.87.0/24"] },
    { name: "IPv6 without the node's own address", output: IPV6, routes: ["fd00:10:244:3f::/64"] },
    { name: "a namespace that is gone", output: "", routes: [] as string[] },
  ])("parseRoutes: $name", ({ output, routes }) => {
    expect(parseRoutes(output).map(String)).toEqual([...routes]);
  });
});
