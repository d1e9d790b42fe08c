// flannelctl's commands on a real store, as a shell sees them: what they print, what they leave in the store, how they end.

import { afterEach, beforeEach, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EmbeddedRegistry } from "../../src/subnet/embedded.ts";
import { type CallOptions, flannelctl } from "./flannelctl.ts";

const CONFIG = '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}';
const HOUR = 3_600_000;
const signal = new AbortController().signal;

let directory = "";
let path = "";

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "flannelctl-test-"));
  path = join(directory, "store.db");
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

async function call(words: string, options: CallOptions & { readonly last?: string } = {}) {
  const { last, ...rest } = options;
  return await flannelctl([...words.split(" "), ...(last === undefined ? [] : [last]), `--store-file=${path}`], rest);
}

/** The store with a configuration and three leases: of nodes 1 and 2, and a reservation of node 3. */
async function filled(): Promise<EmbeddedRegistry> {
  const store = await EmbeddedRegistry.open(path, {}, signal);
  await store.setConfig(CONFIG, signal);
  for (const n of [1, 2, 3]) await store.create(`10.5.${n}.0-24`, value(n), n === 3 ? undefined : 24 * HOUR, signal);
  return store;
}

function value(n: number): string {
  return `{"PublicIP":"192.0.2.${n}","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"5e:00:00:00:00:0${n}"}}`;
}

test("config get: a store that is not there is told, and not made", async () => {
  const { code, err } = await call("config get");
  expect([code, err]).toEqual([1, expect.stringContaining("there is no such file")]);
  expect(existsSync(path)).toBe(false);
});

test("config get: a store without configuration says how to get one; then prints what was written, byte for byte", async () => {
  using _ = await EmbeddedRegistry.open(path, {}, signal);
  expect(await call("config get")).toEqual({ code: 1, out: "", err: expect.stringContaining("flannelctl config set") });
  const odd = `\n${CONFIG.replace(":", " : ")}`;
  expect((await call("config set -", { input: odd })).code).toBe(0);
  expect((await call("config get")).out).toBe(`${odd}\n`);
  expect(JSON.parse((await call("config get --json")).out)).toEqual({
    store: `embedded store ${path}`,
    key: "config",
    config: odd,
  });
});

test("config get: the store may come from flanneld's environment", async () => {
  using _ = await filled();
  const { out } = await flannelctl(["config", "get"], {
    env: { FLANNELD_STORE_FILE: path, FLANNELD_IFACE_REGEX: "(" },
  });
  expect(out).toBe(`${CONFIG}\n`);
});

test.each([
  {
    text: '{\n  "CN": "x",\n  "Network": "10.5.0.0/16,\n}',
    lines: ['standard input, line 3, column 14: got "\\"10.5.0.0/16,", want the closing double quote'],
  },
  {
    text: '{"Network":"10.5.0.0/33","SubnetLen":"x","Backend":{"Type":"vxlan","VNI":0}}',
    lines: ["SubnetLen: got", "Network: got", "Backend.VNI: got 0"],
  },
  { text: '{"Network":"10.5.0.0/16","Backend":{"Type":"wat"}}', lines: ['Backend.Type: got "wat"'] },
  { text: '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlna"}}', lines: ['did you mean "vxlan"?'] },
  {
    text: '{"Network":"10.5.0.0/16","Backend":{"Type":"AWS-VPC"}}',
    lines: ['Backend.Type: got "aws-vpc", which flannel dropped in 2022', "vxlan needs nothing of the cloud"],
  },
])("config check: names all that is wrong with $text", async ({ text, lines }) => {
  const { code, out, err } = await call("config check -", { input: text });
  expect([code, out]).toEqual([1, ""]);
  for (const line of lines) expect(err).toContain(line);
  expect(JSON.parse((await call("config check - --json", { input: text })).out)).toMatchObject({ valid: false });
});

test("config check: of a right one, warnings and what it means", async () => {
  const file = join(directory, "net-conf.json");
  writeFileSync(file, '{"Network":"10.5.0.0/20","SubnetLn":26,"Backend":{"Type":"VXLAN","Prt":1,"VNI":7}}');
  const { code, out, err } = await call("config check", { last: file });
  expect(code).toBe(0);
  expect(out).toContain("IPv4 network 10.5.0.0/20: 15 subnets of /24, 10.5.1.0/24 to 10.5.15.0/24");
  expect(out).toContain("backend vxlan: vni 7");
  expect(err).toContain('did you mean "SubnetLen"');
  expect(err).toContain("did you mean Port");
});

test("config check: an option that is found in the field and never had an effect", async () => {
  const input = '{"Network":"10.5.0.0/16","Backend":{"Type":"extension","shutdowncommand":"true"}}';
  const { code, out, err } = await call("config check -", { input });
  expect([code, out]).toEqual([0, expect.stringContaining("backend extension: timeoutSeconds 60\n")]);
  expect(err).toContain("Backend.ShutdownCommand has no effect: flannel never ran it");
});

test("config check: without a file it is the stored one", async () => {
  using _ = await filled();
  expect((await call("config check")).out).toContain("255 subnets of /24");
});

test("config set: shows what changes, writes nothing with --dry-run, and nothing that is wrong", async () => {
  using store = await filled();
  const next = '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan","VNI":5}}';
  const dry = await call("config set --dry-run", { last: next });
  expect(dry).toMatchObject({ code: 0, out: "+ Backend.VNI: 5\nnot written: --dry-run\n" });
  expect(dry.err).toContain("do not reach each other until all were restarted");
  expect((await call("config set --force", { last: '{"Network":"10.5.0.0/16"' })).code).toBe(1);
  expect((await store.config(signal)).text).toBe(CONFIG);
  expect((await call("config set", { last: next })).out).toContain(`written to embedded store ${path}`);
  expect((await store.config(signal)).text).toBe(next);
});

test("config set: names the leases that a new network has no place for, and writes it only when forced", async () => {
  using store = await filled();
  const next = '{"Network":"10.5.0.0/16","SubnetMin":"10.5.2.0","Backend":{"Type":"vxlan"}}';
  const refused = await call("config set", { last: next });
  expect(refused.code).toBe(1);
  expect(refused.err).toContain("the lease 10.5.1.0-24 of 192.0.2.1 does not fit");
  expect(refused.err).not.toContain("10.5.2.0-24");
  expect((await store.config(signal)).text).toBe(CONFIG);
  const forced = JSON.parse((await call("config set --force --json", { last: next })).out);
  expect(forced).toMatchObject({ outcome: "written", endangered: [{ key: "10.5.1.0-24", reserved: false }] });
});

test("config set: a pre-shared key is written and not shown", async () => {
  using store = await filled();
  const next = '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan","PSK":"hush"}}';
  const { out, err } = await call("config set", { last: next });
  expect(out + err).not.toContain("hush");
  expect((await store.config(signal)).text).toBe(next);
});

test("config edit: writes what the editor leaves, from a file that nobody else can read", async () => {
  using store = await filled();
  const editor = join(directory, "editor");
  writeFileSync(
    editor,
    `stat -c %a "$1" > ${directory}/mode; sed -i s/10.5.0.0/10.5.128.0/ "$1"; sed -i s_/16_/17_ "$1"`,
  );
  const edit = (force = "") => call(`config edit${force}`, { env: { VISUAL: `sh ${editor}`, EDITOR: "false" } });
  expect((await edit()).code).toBe(1);
  expect((await edit(" --force")).code).toBe(0);
  expect((await store.config(signal)).text).toBe('{"Network":"10.5.128.0/17","Backend":{"Type":"vxlan"}}');
  expect(readFileSync(join(directory, "mode"), "utf8")).toBe("600\n");
});

test("config edit: nothing changed, an editor that fails, a wrong text and a change meanwhile write nothing", async () => {
  using store = await filled();
  const edit = (EDITOR: string) => call("config edit", { env: { EDITOR } });
  expect(await edit("true")).toMatchObject({ code: 0, out: "nothing was changed\n" });
  expect(await edit("not-an-editor")).toMatchObject({ code: 1, err: expect.stringContaining("set EDITOR") });
  const wrong = await edit("sed -i s/Network/Netwrk/");
  expect(wrong.code).toBe(1);
  const kept = /kept in (\S+)/.exec(wrong.err)?.[1] ?? "";
  expect(readFileSync(kept, "utf8")).toContain("Netwrk");
  expect(statSync(kept).mode & 0o777).toBe(0o600);
  rmSync(join(kept, ".."), { recursive: true });
  expect((await store.config(signal)).text).toBe(CONFIG);
  const go = join(directory, "go");
  const editing = edit(`sed -i s/vxlan/VXLAN/ "$1"; touch ${go}; while test -e ${go}; do sleep 0.01; done; true`);
  while (!existsSync(go)) await Bun.sleep(5);
  const other = `${CONFIG} `;
  await store.setConfig(other, signal);
  rmSync(go);
  const meanwhile = await editing;
  expect([meanwhile.code, meanwhile.err]).toEqual([1, expect.stringContaining("somebody else changed it meanwhile")]);
  rmSync(join(/kept in (\S+)/.exec(meanwhile.err)?.[1] ?? directory, ".."), { recursive: true });
  expect((await store.config(signal)).text).toBe(other);
});

test("subnets ls: leases, reservations, and what nodes refuse with the reason", async () => {
  using store = await filled();
  await store.create("10.9.1.0-24", value(4), HOUR, signal);
  await store.create("10.5.2.0-25", value(5), HOUR, signal);
  await store.create("10.5.6.0-24", "wat", HOUR, signal);
  await store.create("wat", value(7), HOUR, signal);
  const { out } = await call("subnets ls");
  const lines = out.split("\n");
  expect(lines[1]).toMatch(/^10\.5\.1\.0\/24 +192\.0\.2\.1 +vxlan +5e:00:00:00:00:01 +23h 59m$/);
  expect(lines[3]).toMatch(/^10\.5\.3\.0\/24 +192\.0\.2\.3 .* reserved$/);
  expect(lines[4]).toContain("refused: its subnet 10.9.1.0/24 is outside the network 10.5.0.0/16");
  expect(lines[5]).toContain("refused: it overlaps 10.5.2.0-24");
  expect(lines[6]).toContain("refused: its value is not JSON");
  expect(lines[7]).toContain("refused: its key is not a subnet");
  const json = JSON.parse((await call("subnets ls --json")).out);
  expect(json).toHaveLength(7);
  expect(json[0]).toMatchObject({ key: "10.5.1.0-24", publicIp: { ipv4: "192.0.2.1" }, reserved: false, fault: null });
  expect(json[2]).toMatchObject({ reserved: true, expiresAt: null, ttlSeconds: null });
});

test.each(["10.5.2.0-24", "10.5.2.0/24", "192.0.2.2", "10.5.2.77"])(
  "subnets get: finds the lease by %s",
  async (wanted) => {
    using _ = await filled();
    expect((await call("subnets get --raw", { last: wanted })).out).toBe(`${value(2)}\n`);
    expect((await call("subnets get", { last: wanted })).out).toContain('"VtepMAC": "5e:00:00:00:00:02"');
    expect(JSON.parse((await call("subnets get --json", { last: wanted })).out)).toMatchObject({ key: "10.5.2.0-24" });
  },
);

test("subnets get: what is not there", async () => {
  using _ = await filled();
  expect(await call("subnets get 10.5.99.0/24")).toMatchObject({
    code: 1,
    err: expect.stringContaining("holds no lease for 10.5.99.0/24"),
  });
});

test("reserve: a free subnet, as upstream's document has it", async () => {
  using store = await filled();
  const { code, out } = await call("reserve 10.5.7.0/24 --public-ip=192.0.2.7");
  expect([code, out]).toEqual([0, expect.stringContaining("takes it when its flanneld starts next")]);
  expect((await store.entry("10.5.7.0-24", signal)).entry).toMatchObject({
    value: '{"PublicIP":"192.0.2.7","PublicIPv6":null,"BackendType":"vxlan"}',
    reserved: true,
  });
});

test("reserve: BackendType is the one of the backend's leases, which alloc's have not", async () => {
  using store = await filled();
  await store.setConfig('{"Network":"10.5.0.0/16","Backend":{"Type":"alloc"}}', signal);
  expect((await call("reserve 10.5.7.0/24 --public-ip=192.0.2.7")).code).toBe(0);
  expect((await store.entry("10.5.7.0-24", signal)).entry?.value).toBe('{"PublicIP":"192.0.2.7","PublicIPv6":null}');
});

test("reserve: a node's own lease only loses its end", async () => {
  using store = await filled();
  expect((await call("reserve 10.5.1.0-24 --public-ip=192.0.2.1")).out).toContain("only lost its end");
  expect((await store.entry("10.5.1.0-24", signal)).entry).toMatchObject({ value: value(1), reserved: true });
  expect((await call("reserve 10.5.1.0-24 --public-ip=192.0.2.1")).out).toContain("it was so before");
});

test("reserve: a node that has another subnet keeps it, and that is said", async () => {
  using _ = await filled();
  expect((await call("reserve 10.5.8.0/24 --public-ip=192.0.2.1")).out).toContain(
    "flannelctl lease revoke 10.5.1.0-24",
  );
});

test.each([
  ["10.5.2.0/24 --public-ip=192.0.2.9", 1, "it is leased by 192.0.2.2"],
  ["10.5.3.0/24 --public-ip=192.0.2.9", 1, "it is reserved by 192.0.2.3"],
  ["10.5.9.0/25 --public-ip=192.0.2.9", 1, "want a /24 of 10.5.0.0/16 from 10.5.1.0/24 to 10.5.255.0/24"],
  ["10.5.0.0/24 --public-ip=192.0.2.9", 1, "want a /24 of 10.5.0.0/16"],
  ["10.5.9.1/24 --public-ip=192.0.2.9", 2, "without host bits"],
  ["10.5.9.0/24 10.5.10.0/24 --public-ip=192.0.2.9", 2, "want a subnet such as"],
  ["10.5.9.0/24", 2, "give --public-ip or --public-ipv6"],
  ["10.5.9.0/24 --public-ip=wat", 2, "want an IPv4 address"],
])("reserve: refuses %s", async (words, code, message) => {
  using store = await filled();
  const before = (await store.entries(signal)).entries;
  expect(await call(`reserve ${words}`)).toMatchObject({ code, err: expect.stringContaining(message) });
  expect((await store.entries(signal)).entries).toEqual(before);
});

test("reserve: both families of a dual-stack network", async () => {
  using store = await filled();
  await store.setConfig(
    '{"Network":"10.5.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:10:5::/48","Backend":{"Type":"vxlan"}}',
    signal,
  );
  await call("reserve 10.5.9.0/24 fd00:10:5:9::/64 --public-ip=192.0.2.9 --public-ipv6=2001:db8::9");
  expect((await store.entry("10.5.9.0-24&fd00:10:5:9::-64", signal)).entry?.value).toBe(
    '{"PublicIP":"192.0.2.9","PublicIPv6":"2001:db8::9","BackendType":"vxlan"}',
  );
});

test("unreserve: gives an end again, or removes; a lease is not one", async () => {
  using store = await filled();
  expect(await call("unreserve 10.5.1.0/24")).toMatchObject({
    code: 1,
    err: expect.stringContaining("ends by itself"),
  });
  expect(await call("unreserve 192.0.2.3 --ttl 90m")).toMatchObject({
    code: 0,
    out: expect.stringContaining("ends in 1h 30m"),
  });
  const { entry } = await store.entry("10.5.3.0-24", signal);
  expect(entry).toMatchObject({ value: value(3), reserved: false });
  await call("reserve 10.5.3.0/24 --public-ip=192.0.2.3");
  expect((await call("unreserve 10.5.3.0-24 --remove --json")).out).toContain('"removed"');
  expect((await store.entry("10.5.3.0-24", signal)).entry).toBeUndefined();
});

test("lease revoke: not without being asked or told, and only what it names", async () => {
  using store = await filled();
  expect(await call("lease revoke 10.5.1.0/24", { input: "y\n" })).toMatchObject({
    code: 2,
    err: expect.stringContaining("give --yes"),
  });
  expect(await call("lease revoke 10.5.1.9 --yes")).toMatchObject({
    code: 1,
    err: expect.stringContaining("holds no lease"),
  });
  expect((await store.entries(signal)).entries).toHaveLength(3);
  expect((await call("lease revoke 192.0.2.1 --yes")).out).toContain("revoked the lease 10.5.1.0-24 of 192.0.2.1");
  expect((await store.entries(signal)).entries.map(({ key }) => key)).toEqual(["10.5.2.0-24", "10.5.3.0-24"]);
});

test.each([
  ["config get --etcd-endpoints=wat://x", "--etcd-endpoints: got"],
  ["subnets ls --etcd-certfile=x.pem", "--etcd-keyfile: missing"],
  ["migrate --from etcd2 --to etcd3 --from-etcd-prefix", "argument missing"],
  ["migrate --from wat --to etcd3", "Allowed choices are etcd2, etcd3, embedded"],
  ["migrate --from etcd3 --to etcd3", "name the same store"],
  ["migrate --from embedded --to etcd3", "--from-store-file names no file"],
  ["config set /not/there", "cannot read /not/there"],
])("called wrongly: %s", async (words, message) => {
  expect(await flannelctl(words.split(" "))).toMatchObject({ code: 2, err: expect.stringContaining(message) });
});
