import { expect, test } from "bun:test";
import type { Prefix } from "../ip/prefix.ts";
import { iptablesLines, readIptables } from "./iptables.ts";
import { type OwnNetworks, suffixOf } from "./rule.ts";
import { ruleSets } from "./rules.ts";

const N = "10.5.0.0/16";
const NETWORKS: OwnNetworks = [N as Prefix];
const OWN = suffixOf(N as Prefix);
const MASQ = '-m comment --comment "flanneld masq"';
const FORWARD = '-m comment --comment "flanneld forward"';

function save({ nat = [], filter = [] }: { readonly nat?: readonly string[]; readonly filter?: readonly string[] }) {
  return ["*filter", ":FORWARD ACCEPT [0:0]", ...filter, "COMMIT", "*nat", ...nat, "COMMIT", ""].join("\n");
}

const [WANTED] = ruleSets(
  "iptables",
  { ipv4: N as Prefix },
  { ipv4: "10.5.7.0/24" as Prefix },
  { masquerade: true, fullyRandom: true, forward: true },
);

/** upstream's of HEAD, by the facts about it. */
const UPSTREAM = save({
  nat: [
    ":FLANNEL-POSTRTG - [0:0]",
    `-A POSTROUTING ${MASQ} -j FLANNEL-POSTRTG`,
    `-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 ${MASQ} -j RETURN`,
    `-A FLANNEL-POSTRTG -s 10.5.7.0/24 -d ${N} ${MASQ} -j RETURN`,
    `-A FLANNEL-POSTRTG -s ${N} -d 10.5.7.0/24 ${MASQ} -j RETURN`,
    `-A FLANNEL-POSTRTG ! -s ${N} -d 10.5.7.0/24 ${MASQ} -j RETURN`,
    `-A FLANNEL-POSTRTG -s ${N} ! -d 224.0.0.0/4 ${MASQ} -j MASQUERADE --random-fully`,
    `-A FLANNEL-POSTRTG ! -s ${N} -d ${N} ${MASQ} -j MASQUERADE --random-fully`,
  ],
  filter: [
    ":FLANNEL-FWD - [0:0]",
    `-A FORWARD ${FORWARD} -j FLANNEL-FWD`,
    `-A FLANNEL-FWD -s ${N} ${FORWARD} -j ACCEPT`,
    `-A FLANNEL-FWD -d ${N} ${FORWARD} -j ACCEPT`,
  ],
});

/** What is done first, before the chains are filled. */
function firstSteps(text: string, networks = NETWORKS): readonly string[] {
  const { set, suffix } = readIptables(text, "ipv4", networks);
  return iptablesLines(WANTED, set, suffix).filter((line) => / -[DNFX] /.test(line));
}

test("upstream's chains are filled anew under their jumps, and the filter that is as wanted stays", () => {
  const { set, suffix } = readIptables(UPSTREAM, "ipv4", NETWORKS);
  const lines = iptablesLines(WANTED, set, suffix);
  expect(lines[0]).toBe("-t nat -F FLANNEL-POSTRTG");
  expect(lines.slice(1).filter((line) => !line.startsWith("-t nat -A FLANNEL-POSTRTG "))).toEqual([]);
});

test.each<[string, string, readonly string[]]>([
  [
    "v0.7.1's three bare rules",
    save({
      nat: [
        "-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE",
        `-A POSTROUTING -s ${N} -d ${N} -j RETURN`,
        `-A POSTROUTING -s ${N} ! -d 224.0.0.0/4 -j MASQUERADE`,
        `-A POSTROUTING ! -s ${N} -d ${N} -j MASQUERADE`,
      ],
    }),
    [
      `-t nat -D POSTROUTING -s ${N} -d ${N} -j RETURN`,
      `-t nat -D POSTROUTING -s ${N} ! -d 224.0.0.0/4 -j MASQUERADE`,
      `-t nat -D POSTROUTING ! -s ${N} -d ${N} -j MASQUERADE`,
      "-t nat -N FLANNEL-POSTRTG",
      "-t filter -N FLANNEL-FWD",
    ],
  ],
  [
    "only two of them: somebody else's",
    save({ nat: [`-A POSTROUTING -s ${N} -d ${N} -j RETURN`, `-A POSTROUTING ! -s ${N} -d ${N} -j MASQUERADE`] }),
    ["-t nat -N FLANNEL-POSTRTG", "-t filter -N FLANNEL-FWD"],
  ],
  [
    "bare rules with upstream's comments, of our network and of another",
    save({
      nat: [
        `-A POSTROUTING -s ${N} ! -d 224.0.0.0/4 ${MASQ} -j MASQUERADE --random-fully`,
        `-A POSTROUTING -s 10.9.0.0/16 ! -d 224.0.0.0/4 ${MASQ} -j MASQUERADE --random-fully`,
      ],
      filter: [`-A FORWARD -s ${N} ${FORWARD} -j ACCEPT`],
    }),
    [
      `-t nat -D POSTROUTING -s ${N} ! -d 224.0.0.0/4 ${MASQ} -j MASQUERADE --random-fully`,
      "-t nat -N FLANNEL-POSTRTG",
      `-t filter -D FORWARD -s ${N} ${FORWARD} -j ACCEPT`,
      "-t filter -N FLANNEL-FWD",
    ],
  ],
  [
    "a doubled jump, and one without the comment",
    UPSTREAM.replace(
      `-A FORWARD ${FORWARD} -j FLANNEL-FWD`,
      `-A FORWARD -j FLANNEL-FWD\n-A FORWARD ${FORWARD} -j FLANNEL-FWD\n-A FORWARD ${FORWARD} -j FLANNEL-FWD`,
    ),
    [
      "-t nat -F FLANNEL-POSTRTG",
      "-t filter -D FORWARD -j FLANNEL-FWD",
      `-t filter -D FORWARD ${FORWARD} -j FLANNEL-FWD`,
    ],
  ],
  [
    "another flannel's chains stay, and ours take names of their own",
    UPSTREAM.replaceAll("10.5.", "10.9."),
    [`-t nat -N FLANNEL-POSTRTG${OWN}`, `-t filter -N FLANNEL-FWD${OWN}`],
  ],
  [
    "a stranger's rule in our chain goes with the filling",
    UPSTREAM.replace(":FLANNEL-FWD - [0:0]", ":FLANNEL-FWD - [0:0]\n-A FLANNEL-FWD -i eth0 -j DROP"),
    ["-t nat -F FLANNEL-POSTRTG", "-t filter -F FLANNEL-FWD"],
  ],
])("%s", (_title, text, steps) => {
  expect(firstSteps(text)).toEqual([...steps]);
});

test("the network of the run before is ours too", () => {
  const networks: OwnNetworks = [N as Prefix, "10.9.0.0/16" as Prefix];
  expect(firstSteps(UPSTREAM.replaceAll("10.5.", "10.9."), networks)).toEqual([
    "-t nat -F FLANNEL-POSTRTG",
    "-t filter -F FLANNEL-FWD",
  ]);
});

test("nothing of ours is nothing", () => {
  expect(readIptables(save({ nat: ["-A POSTROUTING -j KUBE-POSTROUTING"] }), "ipv4", NETWORKS).set).toBeUndefined();
});
