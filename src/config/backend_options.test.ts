import { describe, expect, test } from "bun:test";
import { readBackendOptions } from "./backend_options.ts";
import { misspeltKeys } from "./json_fields.ts";

const FIELDS = {
  VNI: { type: "integer", min: 1, max: 0xffffff, default: 1 },
  GBP: { type: "boolean", default: false },
  PSK: { type: "text", default: "" },
  Name: { type: "text", default: undefined },
  Nested: { type: "object" },
} as const;

const DEFAULTS = { VNI: 1, GBP: false, PSK: "", Name: undefined, Nested: undefined };

describe("readBackendOptions reads", () => {
  test.each([
    ["nothing as the defaults", {}, {}],
    ["null as absent", { VNI: null, GBP: null, Nested: null }, {}],
    [
      "what is given",
      { VNI: 7, GBP: true, PSK: "s", Name: "n", Nested: { a: 1 } },
      { VNI: 7, GBP: true, PSK: "s", Name: "n", Nested: { a: 1 } },
    ],
    ["keys in any letter case", { vni: 7, gBP: true }, { VNI: 7, GBP: true }],
    ["no unknown keys", JSON.parse('{"Type":"vxlan","__proto__":{"VNI":9},"constructor":1}'), {}],
    ["the ends of a range", { VNI: 0xffffff }, { VNI: 0xffffff }],
  ])("%s", (_, raw, values) => {
    expect(readBackendOptions(raw, FIELDS)).toEqual({ ...DEFAULTS, ...values });
  });
});

test("readBackendOptions names every fault at once", () => {
  const raw = { VNI: 0x1000000, GBP: "true", PSK: 1, Nested: [] };
  expect(() => readBackendOptions(raw, FIELDS)).toThrow(
    [
      "net-conf.json: Backend.VNI: got 16777216, want a whole number from 1 to 16777215",
      'net-conf.json: Backend.GBP: got "true", want true or false',
      "net-conf.json: Backend.PSK: got 1, want text in double quotes",
      "net-conf.json: Backend.Nested: got [], want a JSON object",
    ].join("\n"),
  );
});

test("readBackendOptions names what a check finds beside them, each option once", () => {
  const read = () =>
    readBackendOptions({ VNI: "x", Name: "bad" }, FIELDS, "Backend", (options, wrong) => {
      expect(options.VNI).toBe(1);
      wrong("VNI", "1", "another");
      wrong("Name", options.Name, "a good one");
    });
  expect(read).toThrow(
    /^Backend\.VNI: got "x", want a whole number from 1 to 16777215\nBackend\.Name: got bad, want a good one$/,
  );
});

test.each([
  [undefined, "Backend: missing, want a JSON object"],
  ["vxlan", 'Backend: got "vxlan", want a JSON object'],
  [null, "Backend: got null, want a JSON object"],
])("readBackendOptions refuses %p", (raw, message) => {
  expect(() => readBackendOptions(raw, FIELDS, "Backend")).toThrow(message);
});

test("misspeltKeys finds keys that one slip made", () => {
  const found = misspeltKeys({ VIN: 1, GPB: true, Nmae: "", vni: 1, Port: 1, VNIs: 1 }, Object.keys(FIELDS));
  expect(found.map(({ key, meant }) => `${key} ${meant}`)).toEqual(["VIN VNI", "GPB GBP", "Nmae Name", "VNIs VNI"]);
});
