// JSON of Nodes, without most of it. Five sixths of a whole Node are its status, which changes with every heartbeat and of which flannel uses one condition, its
// own Node's; two thirds of its metadata are notes on who set which field. kube-apiserver writes each of them last, so what comes before is parsed alone. Where
// that does not give a Node, the whole is. Pure.

import { isJsonObject } from "../../config/json_fields.ts";

const STATUS = Buffer.from(',"status":{');
const MANAGED_FIELDS = Buffer.from(',"managedFields":[');
/** How an event ends whose metadata end with managedFields: the last of these, and the three objects around. */
const MANAGED_END = Buffer.from("}]}}}");
const decoder = new TextDecoder();

/** Where the Node is: the value itself, or its member `object` as in an event. */
export type NodeAt = "value" | "object";

/** A parser of values that are Nodes or have one, or metadata of one; `own` is the name of the one that is wanted whole. */
export function nodeParser(at: NodeAt, own: string): (bytes: Uint8Array) => unknown {
  const closing = at === "value" ? "}" : "}}";
  return (bytes) => {
    const metadataHead = at === "object" && endsWith(bytes, MANAGED_END) && headOf(bytes, MANAGED_FIELDS, "}}}");
    if (metadataHead && isMetadata(metadataHead)) return metadataHead;
    const head = headOf(bytes, STATUS, closing);
    const node = at === "object" && isJsonObject(head) ? head.object : head;
    const metadata = isJsonObject(node) && isJsonObject(node.metadata) ? node.metadata : {};
    // A bookmark has no name.
    const known = typeof metadata.resourceVersion === "string" && metadata.name !== own;
    return known ? head : JSON.parse(decoder.decode(bytes));
  };
}

/** Whether this is metadata of a Node, as far as they are wanted. */
function isMetadata(event: unknown): boolean {
  const object = isJsonObject(event) && isJsonObject(event.object) ? event.object : {};
  const metadata = isJsonObject(object.metadata) ? object.metadata : {};
  const known = [metadata.name, metadata.uid, metadata.resourceVersion].every((each) => typeof each === "string");
  return known && object.kind === "PartialObjectMetadata";
}

function endsWith(bytes: Uint8Array, end: Buffer): boolean {
  return end.equals(bytes.subarray(bytes.length - end.length));
}

/** What comes before `mark`, closed; undefined when that is no JSON, so that it was not where it should be. */
function headOf(bytes: Uint8Array, mark: Buffer, closing: string): unknown {
  const buffer = bytes instanceof Buffer ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = buffer.indexOf(mark);
  if (end < 0) return undefined;
  try {
    return JSON.parse(buffer.toString("utf8", 0, end) + closing);
  } catch {
    return undefined;
  }
}
