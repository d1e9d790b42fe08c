// The built-in portmap against the reference plugin of containernetworking-plugins, with both variants of iptables: the same configuration gives the same
// tables, and each removes what the other made.

import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { confOf, FLAVOURS, type Flavour, generatedConfs, Iptables, resultOf } from "./portmap_world.ts";
import { Host, REFERENCE } from "./runtime.ts";

const CONFS = generatedConfs(64);
/** The reference starts some forty processes for an ADD. */
const TIMEOUT_MS = 180_000;
const THEIRS = join(REFERENCE, "portmap");

/**
 * `ip6tables-legacy -C` takes rules for the same that differ in ports, so the reference leaves all but the first out. What it would have written then comes
 * from the other variant.
 */
function variants(host: Host, flavour: Flavour) {
  const forOurs = new Iptables(host, flavour);
  return { forOurs, forTheirs: flavour === "legacy" ? new Iptables(host, "legacy", "nft") : forOurs };
}

describe.each(FLAVOURS)("iptables-%s", (flavour) => {
  test(
    "the same rules for each of 64 configurations, and each plugin removes the other's",
    () => {
      using host = new Host();
      const { forOurs, forTheirs } = variants(host, flavour);
      const ours = join(host.ours, "portmap");
      const neighbour = host.pod();
      const pod = host.pod();
      for (const [i, conf] of CONFS.entries()) {
        const outcomes = [
          { add: THEIRS, del: ours, iptables: forTheirs },
          { add: ours, del: THEIRS, iptables: forOurs },
        ].map(({ add, del, iptables }) => {
          iptables.flush();
          iptables.run(`
          iptables -t nat -N KUBE-MARK-MASQ; ip6tables -t nat -N KUBE-MARK-MASQ
          iptables -t nat -A POSTROUTING -s 203.0.113.0/24 -j MASQUERADE
          iptables -t nat -A PREROUTING -i lo -j ACCEPT`);
          // On every second node there is a container already.
          if (i % 2 === 1)
            neighbour.add(
              add,
              confOf({}, [{ hostPort: 9000, containerPort: 1, protocol: "tcp" }], resultOf("10.1.1.1/24")),
              iptables.options,
            );
          const before = iptables.save();
          const result = pod.add(add, conf, iptables.options);
          const rules = iptables.save();
          const { prevResult, ...without } = conf;
          // The second time there is nothing left to remove.
          pod.del(del, without, iptables.options);
          pod.del(del, without, iptables.options);
          return { before, result, rules, after: iptables.save() };
        });
        const [theirs, built] = outcomes;
        expect({ conf, ...built }).toEqual({ conf, ...theirs } as never);
      }
    },
    TIMEOUT_MS,
  );

  test("a container that is added again, with ports besides", () => {
    using host = new Host();
    const { forOurs, forTheirs } = variants(host, flavour);
    const pod = host.pod();
    const first = { hostPort: 80, containerPort: 8080, protocol: "tcp" };
    const second = { hostPort: 53, containerPort: 53, protocol: "udp", hostIP: "192.0.2.9" };
    const result = resultOf("10.5.1.7/24", "fd00::7/64");
    const conditions = { conditionsV4: ["!", "-s", "192.0.2.0/24"] };
    const plugins = [
      { plugin: THEIRS, iptables: forTheirs },
      { plugin: join(host.ours, "portmap"), iptables: forOurs },
    ];
    const [theirs, built] = plugins.map(({ plugin, iptables }) => {
      iptables.flush();
      const adds = [
        confOf(conditions, [first], result),
        confOf(conditions, [first], result),
        confOf({ ...conditions, markMasqBit: 5 }, [first, second], result),
        confOf({}, [first, second], result),
      ];
      return adds.map((conf) => {
        pod.add(plugin, conf, iptables.options);
        return iptables.save();
      });
    });
    expect(built).toEqual(theirs);
  });
});
