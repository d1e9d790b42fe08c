import { expect, test } from "bun:test";
import { parseNetworkConfig } from "../../config/net_conf.ts";
import { changedKeys, consequences } from "./change.ts";

const OLD = '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan","VNI":1}}';

test.each([
  ["nothing", OLD, OLD, []],
  ["spaces and order", OLD, '{ "Backend": {"VNI":1, "Type":"vxlan"}, "Network":"10.5.0.0/16" }', []],
  ["a value", OLD, OLD.replace("1}", "2}"), [{ key: "Backend.VNI", before: "1", after: "2" }]],
  ["a key more", OLD, OLD.replace("{", '{"SubnetLen":24,'), [{ key: "SubnetLen", before: undefined, after: "24" }]],
  ["a key less", OLD, OLD.replace(',"VNI":1', ""), [{ key: "Backend.VNI", before: "1", after: undefined }]],
  [
    "a secret",
    '{"Backend":{"PSK":"a"}}',
    '{"Backend":{"PSK":"b"}}',
    [{ key: "Backend.PSK", before: "(not shown)", after: "(not shown)" }],
  ],
  [
    "everything, where nothing was",
    undefined,
    '{"Network":"x"}',
    [{ key: "Network", before: undefined, after: '"x"' }],
  ],
  ["everything, where no JSON was", "wat", '{"Network":"x"}', [{ key: "Network", before: undefined, after: '"x"' }]],
])("changedKeys: %s", (_, before, after, changes) => {
  expect(changedKeys(before, after)).toEqual(changes);
});

const read = (text: string) => parseNetworkConfig(text, "test");

test.each([
  ["nothing before", undefined, OLD, 0],
  ["the same", OLD, ` ${OLD}`, 0],
  ["another backend option", OLD, OLD.replace("1}", "2}"), 2],
  ["another network", OLD, OLD.replace("/16", "/17"), 2],
  ["both", OLD, OLD.replace("/16", "/17").replace("1}", "2}"), 3],
])("consequences: %s", (_, before, after, count) => {
  expect(consequences(before === undefined ? undefined : read(before), read(after))).toHaveLength(count);
});
