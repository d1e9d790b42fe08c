import { expect, test } from "bun:test";
import { readNetConf, validAttachments } from "./net_conf.ts";

test.each([
  ['{"cniVersion":"1.1.0","name":"cbr0","type":"flannel"}', "1.1.0"],
  ['{"cniVersion":"","name":"cbr0","type":"flannel"}', "0.1.0"],
  ['{"name":"mynet","type":"flannel","delegate":{"isDefaultGateway":true}}', "0.1.0"],
])("readNetConf reads %s as CNI %s", async (text, cniVersion) => {
  const raw = JSON.parse(text);
  expect(await readNetConf(text)).toEqual({
    cniVersion: cniVersion as never,
    name: raw.name,
    type: "flannel",
    prevResult: undefined,
    raw,
  });
});

test("readNetConf reads a previous result of any version", async () => {
  const text =
    '{"cniVersion":"1.0.0","name":"a","type":"b","prevResult":{"cniVersion":"0.2.0","ip4":{"ip":"10.0.0.2/24"}}}';
  expect((await readNetConf(text)).prevResult?.ips).toEqual([{ address: "10.0.0.2/24" }]);
});

test.each([
  ["", 6, "standard input, line 1, column 1: got the end of the text"],
  ['{"name": "a",\n "type": }', 6, "standard input, line 2, column 10"],
  ["[]", 6, "want a JSON object"],
  ['{"cniVersion":"2.0.0"}', 1, "incompatible CNI versions"],
  ['{"cniVersion":"1.0.0"}', 7, "missing network name"],
  ['{"name":"../a"}', 7, 'invalid characters found in network name: got "../a"'],
  [
    '{"cniVersion":1,"name":2,"type":3}',
    7,
    "cniVersion: got 1, want text in double quotes; name: got 2, want text in double quotes; type: got 3, want text in double quotes",
  ],
  ['{"prevResult":[]}', 7, "missing network name; cannot read prevResult: got [], want a JSON object"],
])("readNetConf of %j is refused with code %d", async (text, code, words) => {
  const error = await readNetConf(text).then(
    () => undefined,
    (thrown) => thrown,
  );
  expect(error).toMatchObject({ code, message: expect.stringContaining(words) });
});

const attachment = { containerID: "a", ifname: "eth0" };

test.each([
  [{ "cni.dev/valid-attachments": [attachment] }],
  [{ "cni.dev/attachments": [attachment] }],
  [{ "cni.dev/valid-attachments": [attachment], "cni.dev/attachments": [] }],
])("validAttachments finds them in %j", (raw) => {
  expect(validAttachments(raw)).toEqual([{ containerId: "a", ifname: "eth0" }]);
});

test("validAttachments takes null for an empty list, and nothing for a fault", () => {
  expect(validAttachments({ "cni.dev/valid-attachments": null })).toEqual([]);
  expect(() => validAttachments({})).toThrow("cni.dev/valid-attachments: missing, want a list");
  expect(() => validAttachments({ "cni.dev/attachments": [{ containerID: "a" }] })).toThrow("cni.dev/attachments[0]");
});
