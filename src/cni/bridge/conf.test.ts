import { expect, test } from "bun:test";
import { knowsKeys as hostLocalKnows } from "../host_local/conf.ts";
import { knowsKeys, readBridgeConf } from "./conf.ts";

const conf = (raw: object) => ({
  cniVersion: "1.0.0",
  name: "n",
  type: "bridge",
  prevResult: undefined,
  raw: { ...raw },
});

test.each([
  [{ name: "n", type: "bridge", mtu: 1450, ipam: { type: "dhcp" }, "cni.dev/valid-attachments": [] }, true],
  [{ vlan: 0, macspoofchk: false, enabledad: false, preserveDefaultVlan: true, ipMasqBackend: "iptables" }, true],
  [{ vlan: null }, true],
  [{ vlan: 100 }, false],
  [{ macspoofchk: true }, false],
  [{ ipMasqBackend: "nftables" }, false],
  [{ somethingNew: 1 }, false],
])("knowsKeys of bridge: %j → %p", (raw, known) => {
  expect(knowsKeys(raw)).toBe(known);
});

test.each([
  [{ ipam: { type: "host-local", subnet: "10.5.1.0/24", routes: [], dataDir: "/x" } }, true],
  [{ ipam: { type: "host-local", somethingNew: 1 } }, false],
  [{}, false],
])("knowsKeys of host-local: %j → %p", (raw, known) => {
  expect(hostLocalKnows(raw)).toBe(known);
});

test("readBridgeConf takes the MAC of the capability before those of args and CNI_ARGS", () => {
  const mac = (raw: object, args = "") => readBridgeConf(conf(raw), args).mac;
  const [capability, args] = [{ mac: "02:00:00:00:00:01" }, { cni: { mac: "02:00:00:00:00:02" } }];
  expect(mac({ runtimeConfig: capability, args }, "MAC=02:00:00:00:00:03")).toBe("02:00:00:00:00:01" as never);
  expect(mac({ args }, "MAC=02:00:00:00:00:03")).toBe("02:00:00:00:00:02" as never);
  expect(mac({}, "IgnoreUnknown=1;K8S_POD_NAME=a;MAC=02:00:00:00:00:03")).toBe("02:00:00:00:00:03" as never);
  expect(() => mac({}, "K8S_POD_NAME=a")).toThrow("unknown args K8S_POD_NAME=a");
});

test("readBridgeConf names all faults at once", () => {
  const raw = { mtu: -1, isGateway: "yes", hairpinMode: true, promiscMode: true, dns: { nameservers: [1] }, vlan: 7 };
  expect(() => readBridgeConf(conf(raw), "")).toThrow(
    'cannot use the configuration of bridge: isGateway: got "yes", want true or false; mtu: got -1, want a whole number, 0 or more; ' +
      "dns.nameservers: got 1, want text; cannot set hairpin mode and promiscuous mode at the same time; leave out hairpinMode or promiscMode; " +
      "vlan: got 7, want 0 or nothing: the built-in bridge does not implement it",
  );
});
