import { describe, expect, test } from "bun:test";
import type { Address } from "../ip/address.ts";
import { ConfigError } from "./fault.ts";
import { type Invocation, parseFlags } from "./flags.ts";

const STORE = "--store-file=/s";

function run(args: readonly string[], environment = {}): Extract<Invocation, { kind: "run" }> {
  const invocation = parseFlags([STORE, ...args], environment);
  if (invocation.kind !== "run") throw new Error(`expected run, got ${invocation.kind}`);
  return invocation;
}

function faults(args: readonly string[], environment = {}): string[] {
  try {
    parseFlags(args, environment);
  } catch (error) {
    if (error instanceof ConfigError) return error.message.split("\n");
    throw error;
  }
  throw new Error("expected a ConfigError");
}

describe("syntax of Go's flag package", () => {
  test.each([
    ["one dash", ["-subnet-file=/x"], { subnetFile: "/x" }],
    ["two dashes", ["--subnet-file=/x"], { subnetFile: "/x" }],
    ["value as the next word", ["-subnet-file", "/x", "-v", "2"], { subnetFile: "/x", v: 2 }],
    ["a value that looks like a flag", ["--subnet-file", "--version"], { subnetFile: "--version", version: false }],
    ["a value with =", ["--subnet-file=a=b"], { subnetFile: "a=b" }],
    ["an empty value", ["--public-ip="], { publicIp: undefined }],
    ["the last of two", ["--v=1", "--v=2"], { v: 2 }],
    ["every one of a repeated flag", ["--iface=a", "-iface", "b,c"], { iface: ["a", "b,c"] }],
    ["a pattern with a comma", ["--iface-regex=^e{1,2}"], { ifaceRegex: ["^e{1,2}"] }],
    ["a boolean without a value", ["-ip-masq", "--v=1"], { ipMasq: true, v: 1 }],
    ["nothing after --", ["--v=1", "--"], { v: 1 }],
    ["an address, canonical", ["--public-ipv6=2001:DB8:0::1"], { publicIpv6: "2001:db8::1" as Address }],
    ["an underscore in a name", ["--log_backtrace_at=a.go:1"], { logBacktraceAt: "a.go:1" }],
    ["the lifetime of a lease", ["--lease-ttl=5"], { leaseTtl: 5 }],
  ])("%s", (_, args, options) => {
    expect(run(args).options).toMatchObject(options);
  });

  test.each([
    [true, ["1", "t", "T", "true", "TRUE", "True"]],
    [false, ["0", "f", "F", "false", "FALSE", "False"]],
  ])("%p is spelt in six ways", (value, spellings) => {
    for (const spelling of spellings) expect(run([`--ip-masq=${spelling}`]).options.ipMasq).toBe(value);
  });
});

test("defaults are upstream's", () => {
  expect(run([]).options).toEqual({
    storeFile: "/s",
    storeLossGrace: 600,
    leaseTtl: 86_400,
    etcdEndpoints: ["http://127.0.0.1:4001", "http://127.0.0.1:2379"],
    etcdDiscoverySrv: "",
    etcdPrefix: "/coreos.com/network",
    etcdApi: "auto",
    etcdKeyfile: "",
    etcdCertfile: "",
    etcdCafile: "",
    etcdUsername: "",
    etcdPassword: "",
    kubeSubnetMgr: false,
    kubeApiUrl: "",
    kubeconfigFile: "",
    kubeAnnotationPrefix: "flannel.alpha.coreos.com",
    netConfigPath: "/etc/kube-flannel/net-conf.json",
    setNodeNetworkUnavailable: true,
    iface: [],
    ifaceRegex: [],
    ifaceCanReach: undefined,
    publicIp: undefined,
    publicIpv6: undefined,
    subnetFile: "/run/flannel/subnet.env",
    subnetLeaseRenewMargin: 60,
    ipMasq: false,
    ipMasqFullyRandomDisable: false,
    iptablesForwardRules: true,
    iptablesResync: 5,
    ipBlackholeRoute: false,
    healthzIp: "0.0.0.0" as Address,
    healthzPort: 0,
    version: false,
    v: 0,
    vmodule: "",
    logBacktraceAt: "",
  });
});

test("the environment gives what the command line does not, and an empty variable gives nothing", () => {
  const environment = {
    FLANNELD_IFACE: "eth1",
    FLANNELD_V: "3",
    FLANNELD_SUBNET_FILE: "",
    FLANNELD_IP_MASQ: "true",
    FLANNELD_LOG_BACKTRACE_AT: "a.go:1",
  };
  const { options, origins } = run(["--v=1"], environment);
  expect(options).toMatchObject({ iface: ["eth1"], v: 1, subnetFile: "/run/flannel/subnet.env", ipMasq: true });
  expect(options.logBacktraceAt).toBe("a.go:1");
  expect(origins).toMatchObject({
    iface: "environment",
    v: "command line",
    subnetFile: "default",
    ipMasq: "environment",
  });
});

test.each([
  [["--help"], "help"],
  [["-h"], "help"],
  [["--nonsense", "-help"], "help"],
  [["--version"], "version"],
  [["-version=true", "--v=1"], "version"],
])("%j asks for %s, without a store", (args, kind) => {
  expect<string>(parseFlags(args, {}).kind).toBe(kind);
});

describe("faults", () => {
  test.each([
    [["--ifcae", "eth0"], ["--ifcae: got an unknown flag, want a known one; did you mean --iface"]],
    [["--subnetfile=/x"], ["--subnetfile: got an unknown flag, want a known one; did you mean --subnet-file"]],
    [["--quux"], ["--quux: got an unknown flag, want one that --help lists"]],
    [["eth0"], ['command line: got "eth0", want flags only, as --name=value']],
    [["--", "-v"], ['command line: got "-v", want flags only, as --name=value']],
    [["---v=1"], ['command line: got "---v=1", want flags only, as --name=value']],
    [["-"], ['command line: got "-", want flags only, as --name=value']],
    [["--ip-masq", "false"], ['--ip-masq: got "false" as the next word, want --ip-masq=false']],
    [["--subnet-file"], ["--subnet-file: got no value, want one: --subnet-file=PATH"]],
    [["--ip-masq=yes"], ['--ip-masq: got "yes", want true or false']],
    [["--subnet-lease-renew-margin=0"], ['--subnet-lease-renew-margin: got "0", want a whole number from 1 to 1439']],
    [
      ["-subnet-lease-renew-margin=1440"],
      ['--subnet-lease-renew-margin: got "1440", want a whole number from 1 to 1439'],
    ],
    [["--healthz-port=65536"], ['--healthz-port: got "65536", want a whole number from 0 to 65535']],
    [["--healthz-port=8e3"], ['--healthz-port: got "8e3", want a whole number from 0 to 65535']],
    [["--public-ip=::1"], ['--public-ip: got "::1", want an IPv4 address']],
    [["--public-ipv6=192.0.2.1"], ['--public-ipv6: got "192.0.2.1", want an IPv6 address']],
    [["--iface-can-reach=eth0"], ['--iface-can-reach: got "eth0", want an IPv4 or IPv6 address']],
    [["--iface=eth0", "--iface-regex=("], ['--iface-regex: got "(", want a regular expression']],
    [["--subnet-file="], ['--subnet-file: got "", want a path']],
    [
      ["--kube-annotation-prefix=a/b/c"],
      ['--kube-annotation-prefix: got "a/b/c", want a prefix with one slash at most'],
    ],
  ])("%j", (args, expected) => {
    expect(faults([STORE, ...args])).toEqual(expected);
  });

  test("a fault of a variable names the variable", () => {
    expect(faults([STORE], { FLANNELD_PUBLIC_IP: "x" })).toEqual(['FLANNELD_PUBLIC_IP: got "x", want an IPv4 address']);
  });

  test("all are named at once", () => {
    expect(faults([STORE, "word", "--v=x", "--quux", "--public-ip=1"], { FLANNELD_HEALTHZ_PORT: "-1" })).toHaveLength(
      5,
    );
  });

  test.each([
    [["--etcd-certfile=/c"], ["--etcd-keyfile: missing, want the key of /c"]],
    [["--etcd-keyfile=/k"], ["--etcd-certfile: missing, want the certificate of /k"]],
    [["--etcd-password=p"], ["--etcd-username: missing, want the user whose password is given"]],
    [["--etcd-cafile=/ca"], []],
    [["--etcd-username=flannel"], []],
  ])("between etcd's flags: %j", (args, expected) => {
    expect(expected.length > 0 ? faults(args) : []).toEqual(expected);
    if (expected.length === 0) expect(parseFlags(args, {}).kind).toBe("run");
  });

  test.each([
    ["http://127.0.0.1:2379,https://[fd00::1]:2379/,etcd.example.com:2379,localhost", true],
    ["https://root:secret@etcd:2379", false],
    ["http://etcd:2379/v2", false],
    ["unix:///run/etcd.sock", false],
    ["http://a b", false],
  ])("endpoints %s", (text, right) => {
    const read = () => parseFlags([`--etcd-endpoints=${text}`], {});
    if (right) expect(read().kind).toBe("run");
    else expect(read).toThrow("--etcd-endpoints: got");
  });
});

test("etcd's flags beside a store file get a notice", () => {
  expect(run(["--etcd-prefix=/p", "--etcd-api=2"]).notices).toEqual([
    "--etcd-prefix, --etcd-api: no effect: --store-file names the store",
  ]);
});

describe("one store", () => {
  test("two are refused, since they would be two networks", () => {
    const want = "it or --store-file: two stores are two networks";
    expect(faults([STORE, "--kube-subnet-mgr"])).toEqual([`--kube-subnet-mgr: got true, want ${want}`]);
  });

  test.each([
    [["--kube-subnet-mgr", "--kubeconfig-file=/x"], []],
    [["--kube-subnet-mgr", "--etcd-prefix=/x"], ["--etcd-prefix: no effect: --kube-subnet-mgr names the store"]],
    [
      ["--kubeconfig-file=/x", "--net-config-path=/y"],
      ["--kubeconfig-file, --net-config-path: no effect without --kube-subnet-mgr"],
    ],
  ])("flags of another get a notice: %j", (args, notices) => {
    expect(parseFlags(args, {})).toMatchObject({ kind: "run", notices });
  });
});

describe("flags whose part is not built yet", () => {
  test.each([["--vmodule=a=1", "no effect: it names source files of the Go program"]])(
    "%s gets a notice",
    (flag, notice) => {
      const { notices } = run([flag]);
      expect(notices).toHaveLength(1);
      expect(notices[0]).toStartWith(`${flag.replace(/=.*/, "")}: ${notice}`);
    },
  );

  test("nothing is said of a flag that is not used, or of a boolean that is off", () => {
    expect(run(["--kube-subnet-mgr=false", "--ip-masq"]).notices).toEqual([]);
  });
});

test("a variable that looks like a flag's misspelt gets a notice; a Service's variables do not", () => {
  const environment = {
    FLANNELD_IFACES: "eth0",
    FLANNELD_SERVICE_HOST: "10.0.0.1",
    FLANNELD_PORT: "tcp://10.0.0.1:80",
  };
  expect(run([], environment).notices).toEqual(["FLANNELD_IFACES: no flag has this name; did you mean FLANNELD_IFACE"]);
});

test("no password is shown", () => {
  const lines = faults(["--etcd-password=hunter2", "--etcd-endpoints=https://root:hunter2@etcd:2379"], {
    FLANNELD_ETCD_PASSWORD: "hunter2",
  });
  expect(lines).toHaveLength(2);
  expect(lines.join("\n")).not.toContain("hunter2");
});
