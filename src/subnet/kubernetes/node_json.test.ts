import { expect, test } from "bun:test";
import { type NodeAt, nodeParser } from "./node_json.ts";

const bytes = (value: unknown) => Buffer.from(typeof value === "string" ? value : JSON.stringify(value));
const status = { conditions: [{ type: "NetworkUnavailable", status: "True" }] };
const node = (name: string, annotations: object = {}) => ({
  metadata: { name, resourceVersion: "7", annotations, managedFields: [{ "f:status": { "f:x": {} } }] },
  spec: { podCIDR: "10.5.1.0/24" },
  status,
});
const without = ({ status: _, ...rest }: ReturnType<typeof node>) => rest;
const event = (object: object) => ({ type: "MODIFIED", object });
const NOTES = { managedFields: [{ manager: "a", fieldsV1: { "f:x": {} } }, { manager: "b" }] };
const IDENTITY = { name: "a", uid: "u1", resourceVersion: "7" };
const partial = (metadata: object) => event({ kind: "PartialObjectMetadata", metadata });

const rows: [string, NodeAt, unknown, unknown][] = [
  ["a peer's head", "value", node("a"), without(node("a"))],
  ["the own Node whole", "value", node("own"), node("own")],
  ["an event of a peer", "object", event(node("a")), event(without(node("a")))],
  ["an event of the own Node", "object", event(node("own")), event(node("own"))],
  [
    "an annotation that looks like a status",
    "value",
    node("a", { x: ',"status":{' }),
    without(node("a", { x: ',"status":{' })),
  ],
  [
    "a status elsewhere too: the whole",
    "value",
    { metadata: { name: "a", resourceVersion: "7", x: { y: 1, status: {} } }, spec: {}, status },
    { metadata: { name: "a", resourceVersion: "7", x: { y: 1, status: {} } }, spec: {}, status },
  ],
  [
    "a status before all else: the whole",
    "value",
    { kind: "Node", status, ...without(node("a")) },
    { kind: "Node", status, ...without(node("a")) },
  ],
  [
    "metadata without notes",
    "object",
    partial({ ...IDENTITY, annotations: { x: ',"managedFields":[' }, ...NOTES }),
    partial({ ...IDENTITY, annotations: { x: ',"managedFields":[' } }),
  ],
  ["metadata that have none", "object", partial(IDENTITY), partial(IDENTITY)],
  [
    "metadata in another order: the whole",
    "object",
    partial({ annotations: {}, ...NOTES, ...IDENTITY }),
    partial({ annotations: {}, ...NOTES, ...IDENTITY }),
  ],
  [
    "metadata with something behind: the whole",
    "object",
    partial({ ...IDENTITY, ...NOTES, annotations: { x: "y" } }),
    partial({ ...IDENTITY, ...NOTES, annotations: { x: "y" } }),
  ],
  [
    "metadata with other objects behind: the whole",
    "object",
    partial({ name: "a", resourceVersion: "7", ...NOTES, uid: "u1", ownerReferences: [{}] }),
    partial({ name: "a", resourceVersion: "7", ...NOTES, uid: "u1", ownerReferences: [{}] }),
  ],
  [
    "a whole Node of a server that says nothing after its metadata",
    "object",
    event({ kind: "Node", metadata: { ...IDENTITY, ...NOTES } }),
    event({ kind: "Node", metadata: { ...IDENTITY, ...NOTES } }),
  ],
  [
    "a bookmark",
    "object",
    { type: "BOOKMARK", object: { kind: "Node", metadata: { resourceVersion: "9" }, spec: {}, status: { a: {} } } },
    { type: "BOOKMARK", object: { kind: "Node", metadata: { resourceVersion: "9" }, spec: {} } },
  ],
  [
    "an error",
    "object",
    { type: "ERROR", object: { kind: "Status", metadata: {}, status: "Failure", code: 410 } },
    { type: "ERROR", object: { kind: "Status", metadata: {}, status: "Failure", code: 410 } },
  ],
];
test.each(rows)("%s", (_title, at, given, wanted) => {
  expect(nodeParser(at, "own")(bytes(given))).toEqual(wanted);
});

test("no JSON is no JSON", () => {
  expect(() => nodeParser("object", "own")(bytes('{"type":"MODIFIED",,"status":{}}'))).toThrow(SyntaxError);
});
