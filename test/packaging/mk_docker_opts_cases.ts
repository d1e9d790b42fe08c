// What mk-docker-opts.sh is asked in the tests, and how it is asked: in a folder and a network namespace of its own, with an environment that holds what the
// case says and nothing else. The answers are recorded in test/fixtures/mk_docker_opts.json, by mk_docker_opts_record.ts from upstream's script under dash.

import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Case {
  readonly name: string;
  /** Besides -f and -d. */
  readonly args: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  /** Text of subnet.env; undefined: there is none. */
  readonly subnetEnv: string | undefined;
}

export interface Answer {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
  /** What was written; null: no file was made. */
  readonly dockerEnv: string | null;
}

export const SUBNET_ENV = `FLANNEL_NETWORK=10.1.0.0/16
FLANNEL_SUBNET=10.1.74.1/24
FLANNEL_MTU=1472
FLANNEL_IPMASQ=false
`;
const MASQUERADES = SUBNET_ENV.replace("IPMASQ=false", "IPMASQ=true");
const IPV6_ONLY = `FLANNEL_IPV6_NETWORK=fd00:5::/48
FLANNEL_IPV6_SUBNET=fd00:5:0:1::1/64
FLANNEL_MTU=1430
FLANNEL_IPMASQ=true
`;

/** Of the namespace in which every case runs: two subnets are routed to another node. */
export const ROUTES = [
  "ip link set lo up",
  "ip link add eth0 type veth peer name eth0p",
  "ip link set eth0 up",
  "ip link set eth0p up",
  "ip address add 192.168.77.1/24 dev eth0",
  "ip address add 10.1.74.1/24 dev eth0",
  "ip route add 10.1.75.0/24 via 192.168.77.2 dev eth0",
  "ip route add 10.1.76.64/26 via 192.168.77.2 dev eth0",
  "ip route add 10.1.77.0/24 dev eth0",
];

/** Every choice of some of `flags`, in their order. */
function choices(flags: readonly string[]): string[][] {
  return Array.from({ length: 2 ** flags.length }, (_, bits) => flags.filter((_flag, at) => (bits >> at) & 1));
}

const FILES: readonly (readonly [string, string | undefined])[] = [
  ["a usual subnet.env", SUBNET_ENV],
  ["masquerade by flanneld", MASQUERADES],
  ["IPv6 alone", IPV6_ONLY],
  ["no subnet.env", undefined],
];

const combinations: readonly Case[] = FILES.flatMap(([title, subnetEnv]) =>
  choices(["-i", "-c", "-m", "-k DOCKER_NETWORK_OPTIONS"]).map((flags) => ({
    name: [title, ...flags].join(" "),
    args: flags.flatMap((flag) => flag.split(" ")),
    environment: {},
    subnetEnv,
  })),
);

type Row = readonly [
  name: string,
  args: string,
  environment: Readonly<Record<string, string>>,
  subnetEnv: string | undefined,
];
const subnet = (value: string) => SUBNET_ENV.replace("10.1.74.1/24", value);

const rows: readonly Row[] = [
  ["dual stack", "", {}, `${SUBNET_ENV}FLANNEL_IPV6_NETWORK=fd00:5::/48\nFLANNEL_IPV6_SUBNET=fd00:5:0:1::1/64\n`],
  ["bundled flags", "-icm", {}, SUBNET_ENV],
  ["a value joined to its flag", "-kOPTS", {}, SUBNET_ENV],
  ["the last of a repeated flag", "-k ONE -k TWO", {}, SUBNET_ENV],
  ["flags after a word are not read", "-i word -c", {}, SUBNET_ENV],
  ["flags after -- are not read", "-c -- -i", {}, SUBNET_ENV],
  ["an empty file", "", {}, ""],
  ["an empty file, individual", "-i", {}, ""],
  ["only an MTU", "", {}, "FLANNEL_MTU=1472\n"],
  ["only a subnet", "", {}, "FLANNEL_SUBNET=10.1.74.1/24\n"],
  ["empty values", "", {}, "FLANNEL_SUBNET=\nFLANNEL_MTU=\nFLANNEL_IPMASQ=\n"],
  ["no newline at the end", "", {}, SUBNET_ENV.trimEnd()],
  ["quotes and comments", "", {}, "# by hand\nFLANNEL_SUBNET=\"10.1.74.1/24\"\nFLANNEL_MTU='1472' # bytes\n"],
  ["export", "", {}, "export FLANNEL_SUBNET=10.1.74.1/24\n"],
  ["shell in the file", "", {}, "N=74\nFLANNEL_SUBNET=10.1.$N.1/24\nFLANNEL_MTU=$((1500 - 50))\n"],
  ["a file that ends with a false command", "", {}, `${SUBNET_ENV}[ -n "" ] && FLANNEL_MTU=1\n`],
  ["a masquerade that is neither", "", {}, SUBNET_ENV.replace("IPMASQ=false", "IPMASQ=yes")],
  ["a masquerade in capitals", "-c", {}, SUBNET_ENV.replace("IPMASQ=false", "IPMASQ=True")],
  ["a masquerade that is neither, left out", "-m", {}, SUBNET_ENV.replace("IPMASQ=false", "IPMASQ=yes")],
  ["the environment without a file", "", { FLANNEL_SUBNET: "10.1.74.1/24", FLANNEL_MTU: "1400" }, undefined],
  ["the file before the environment", "", { FLANNEL_SUBNET: "10.9.9.1/24", FLANNEL_MTU: "1400" }, SUBNET_ENV],
  ["KEY in the environment", "", { DOCKER_OPTS: "--debug" }, SUBNET_ENV],
  ["KEY in the environment, no file", "", { DOCKER_OPTS: "--debug" }, undefined],
  ["KEY in the environment, individual", "-i", { DOCKER_OPTS: "--debug" }, SUBNET_ENV],
  ["KEY of several words", "-c", { DOCKER_OPTS: "--debug   -H  fd:// * ~ $HOME 'x y'" }, SUBNET_ENV],
  ["another KEY in the environment", "-k OPTS", { OPTS: "--debug", DOCKER_OPTS: "--quiet" }, SUBNET_ENV],
  ["an empty KEY in the environment", "-c", { DOCKER_OPTS: "" }, SUBNET_ENV],
  ["KEY in the file", "", {}, `${SUBNET_ENV}DOCKER_OPTS="--debug -H fd://"\n`],
  ["an option of the environment", "", { DOCKER_OPT_DEBUG: "--debug" }, SUBNET_ENV],
  ["options before and after", "", { DOCKER_OPT_A: "--a", DOCKER_OPT_Z: "--z", DOCKER_OPT_: "--none" }, SUBNET_ENV],
  [
    "options in the order of bytes",
    "",
    { DOCKER_OPT_aa: "1", DOCKER_OPT_A1: "2", DOCKER_OPT_A_: "3", DOCKER_OPT_A: "4" },
    "",
  ],
  ["an option without a value", "", { DOCKER_OPT_C: "" }, SUBNET_ENV],
  ["an option without a file", "", { DOCKER_OPT_DEBUG: "--debug" }, undefined],
  ["an option in the file", "", {}, `${SUBNET_ENV}DOCKER_OPT_DNS=--dns=192.0.2.53\n`],
  ["an option of a longer name", "", { MY_DOCKER_OPT_DEBUG: "--debug", NO_DOCKER_OPTS: "--no" }, SUBNET_ENV],
  [
    "an option that flannel sets",
    "",
    { DOCKER_OPT_MTU: "--mtu=9000", DOCKER_OPT_BIP: "--bip=10.9.9.1/24" },
    SUBNET_ENV,
  ],
  ["an option that flannel would set", "-m", { DOCKER_OPT_IPMASQ: "--ip-masq=false" }, "FLANNEL_MTU=1472\n"],
  ["= and : in an option", "-c", { DOCKER_OPT_LABEL: "--label=a=b:c,d" }, SUBNET_ENV],
  ["double quotes in an option", "", { DOCKER_OPT_LABEL: '--label="a"' }, SUBNET_ENV],
  ["the subnet is routed elsewhere", "-c", {}, subnet("10.1.75.1/24")],
  ["the subnet is routed elsewhere, /26", "-c", {}, subnet("10.1.76.65/26")],
  ["a route without a gateway", "-c", {}, subnet("10.1.77.1/24")],
  ["another length than the route's", "-c", {}, subnet("10.1.75.1/25")],
  ["a subnet without a length", "-c", {}, subnet("10.1.74.1")],
];

export const CASES: readonly Case[] = [
  ...combinations,
  ...rows.map(([name, args, environment, subnetEnv]) => ({
    name,
    args: args === "" ? [] : args.split(" "),
    environment,
    subnetEnv,
  })),
];

/** Asks `script`, run by `shell`, inside the network namespace. */
export function ask(
  { args, environment, subnetEnv }: Omit<Case, "name">,
  shell: readonly string[],
  script: string,
  namespace: string,
  files: readonly string[] = ["-f", "./subnet.env", "-d", "./docker"],
): Answer {
  const folder = mkdtempSync(join(tmpdir(), "flannel-test-mk-docker-opts-"));
  try {
    if (subnetEnv !== undefined) writeFileSync(join(folder, "subnet.env"), subnetEnv);
    const { exitCode, stdout, stderr } = Bun.spawnSync(
      ["ip", "netns", "exec", namespace, ...shell, script, ...files, ...args],
      { cwd: folder, env: { PATH: process.env.PATH ?? "", ...environment } },
    );
    const written = join(folder, "docker");
    return {
      exitCode,
      stdout: stdout.toString(),
      stderr: stderr.toString(),
      dockerEnv: existsSync(written) ? readFileSync(written, "utf8") : null,
    };
  } finally {
    rmSync(folder, { recursive: true });
  }
}
