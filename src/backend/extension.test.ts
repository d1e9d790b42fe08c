import { expect, test } from "bun:test";
import { FACTS, lease, OWN } from "../../test/kernel/contract.ts";
import { ConfigError } from "../config/fault.ts";
import type { KernelObject } from "../state/object.ts";
import { printOperation } from "../state/print.ts";
import { alloc } from "./alloc.ts";
import { extension } from "./extension.ts";

const CONFIG = extension.config({
  Type: "extension",
  PreStartupCommand: "echo pre",
  PostStartupCommand: ' echo "$NETWORK" ',
  subnetaddcommand: 'ip route add "$SUBNET" via "$PUBLIC_IP"',
  SubnetRemoveCommand: 'ip route del "$SUBNET" via "$PUBLIC_IP"',
});
const IDENTITY = { run: { output: "02:00:00:00:00:01", id: "run 1" } };
const peer = (n: number, fields = {}) =>
  lease(n, { backendType: "extension", backendData: { ipv4: "a b" }, ...fields });

function peerObjects(n: number, fields = {}, config = CONFIG, facts = FACTS): readonly KernelObject[] | string {
  const objects = extension.peer(config, IDENTITY, OWN, peer(n, fields), facts);
  return "kind" in objects ? objects.reason : objects;
}

test("extension.node() is the command after the lease, with all variables", () => {
  expect([...extension.node(CONFIG, IDENTITY, OWN, FACTS)]).toEqual([
    {
      kind: "command",
      name: "node",
      add: { option: "PostStartupCommand", text: 'echo "$NETWORK"' },
      remove: { option: "ShutdownCommand", text: "" },
      environment: {
        NETWORK: "10.5.0.0/16",
        IPV6NETWORK: "fd00:5::/48",
        SUBNET: "10.5.1.0/24",
        IPV6SUBNET: "fd00:5:0:1::/64",
        PUBLIC_IP: "192.168.77.1",
        PUBLIC_IPV6: "fd00:77::1",
      },
      stdin: "",
      timeoutSeconds: 60,
      run: "run 1",
    },
  ]);
  expect([...extension.node(extension.config({}), IDENTITY, OWN, FACTS)]).toEqual([]);
});

test("extension.peer() gives a peer's subnets and addresses to the environment, its data to standard input, and the text to nobody", () => {
  const [object] = peerObjects(2) as KernelObject[];
  expect(object).toMatchObject({
    name: "10.5.2.0/24 fd00:5:0:2::/64",
    add: { text: 'ip route add "$SUBNET" via "$PUBLIC_IP"' },
    environment: {
      SUBNET: "10.5.2.0/24",
      IPV6SUBNET: "fd00:5:0:2::/64",
      PUBLIC_IP: "192.168.77.2",
      PUBLIC_IPV6: "fd00:77::2",
    },
    stdin: "a b",
  });
});

test("extension.peer() leaves the variables of a family empty that is not in use", () => {
  const { ipv4 } = peer(2).subnet;
  const [object] = peerObjects(2, { subnet: { ipv4 }, publicIp: { ipv4: peer(2).publicIp.ipv4 } }) as KernelObject[];
  expect(object).toMatchObject({ name: "10.5.2.0/24", environment: { IPV6SUBNET: "", PUBLIC_IPV6: "" } });
});

test.each([
  [{ backendType: "vxlan" }, 'its BackendType is "vxlan", this node runs extension'],
  [
    { backendData: { ipv4: { VtepMAC: "x" } } },
    'its backend data is {"VtepMAC":"x"}, want the text that its PreStartupCommand said',
  ],
  [{ backendData: { ipv4: 7 } }, "its backend data is 7, want the text that its PreStartupCommand said"],
])("extension.peer() refuses %j", (fields, reason) => {
  expect(peerObjects(2, fields)).toBe(reason);
});

test("extension.peer() wants nothing where no command is configured, and takes a lease without data", () => {
  expect(peerObjects(2, {}, extension.config({ Type: "extension" }))).toEqual([]);
  expect(peerObjects(2, { backendData: {} })).toMatchObject([{ stdin: "" }]);
});

test("extension.leaseData() is the output of PreStartupCommand, in whatever families", () => {
  expect(extension.leaseData(CONFIG, IDENTITY, { ipv6: true })).toEqual({ ipv4: "02:00:00:00:00:01" });
});

test("extension.known() takes the run, and only where none may be what the lease says", () => {
  const sources = { links: [], secret: undefined };
  const command = { output: "new", id: "run 2" };
  const known = extension.known(CONFIG, { ...sources, stored: { ipv4: "old" }, command });
  expect(extension.identity(known, () => new Uint8Array())).toEqual({ run: command });
  const planned = extension.known(CONFIG, { ...sources, stored: { ipv4: "old" } });
  expect(extension.identity(planned, () => new Uint8Array()).run.output).toBe("old");
  expect(extension.identity({}, () => new Uint8Array()).run.output).toBe("");
});

test("extension.config() names every wrong option", () => {
  const wrong = () => extension.config({ PreStartupCommand: 7, CommandTimeout: 0 }, "config: Backend");
  expect(wrong).toThrow(ConfigError);
  expect(wrong).toThrow(
    "config: Backend.PreStartupCommand: got 7, want text in double quotes\nconfig: Backend.CommandTimeout: got 0, want a whole number from 1 to 3600",
  );
});

test("a plan shows a command with its environment quoted and its data beside it", () => {
  const [object] = peerObjects(2, { backendData: { ipv4: "it's $(data)" } }) as [KernelObject];
  expect(printOperation({ verb: "add", object })).toBe(
    `printf '%s\\n' 'it'\\''s $(data)' | NETWORK='10.5.0.0/16' IPV6NETWORK='fd00:5::/48' SUBNET='10.5.2.0/24' ` +
      `IPV6SUBNET='fd00:5:0:2::/64' PUBLIC_IP='192.168.77.2' PUBLIC_IPV6='fd00:77::2' sh -c 'ip route add "$SUBNET" via "$PUBLIC_IP"'`,
  );
  const [long] = peerObjects(2, { backendData: { ipv4: "a\nb" } }) as [KernelObject];
  expect(printOperation({ verb: "delete", object: long })).toStartWith("cat BACKEND_DATA_OF_3_CHARACTERS | NETWORK=");
  const [changed] = peerObjects(2, {}, { ...CONFIG, subnetRemove: "true" }) as [KernelObject];
  const [now] = peerObjects(2) as [KernelObject];
  expect(printOperation({ verb: "change", object: changed, actual: now })).toBe(
    "# noted: SubnetRemoveCommand for 10.5.2.0/24 fd00:5:0:2::/64",
  );
});

test("alloc wants nothing of the kernel, and refuses nobody", () => {
  const config = alloc.config({ Type: "alloc" });
  expect([...alloc.node(config, {}, OWN, FACTS)]).toEqual([]);
  for (const other of [lease(2), peer(3), lease(4, { backendType: "", backendData: {} })]) {
    expect(alloc.peer(config, {}, OWN, other, FACTS)).toEqual([]);
  }
  expect([alloc.leaseType, alloc.leaseData(config, {}, { ipv4: true }), alloc.mtu(config, FACTS, {})]).toEqual([
    "",
    {},
    1500,
  ]);
});
