// JSON of Nodes, without most of it: five sixths of a Node are its status, which changes with every heartbeat and of which flannel uses one condition, its own
// Node's. kube-apiserver writes it last, so what comes before it is parsed alone. Where that does not give a Node, the whole is. Pure.

import { isJsonObject } from "../../config/json_fields.ts";

const STATUS = Buffer.from(',"status":{');
const decoder = new TextDecoder();

/** Where the Node is: the value itself, or its member `object` as in an event. */
export type NodeAt = "value" | "object";

/** A parser of values that are Nodes or have one; `own` is the name of the one that is wanted whole. */
export function nodeParser(at: NodeAt, own: string): (bytes: Uint8Array) => unknown {
  const closing = at === "value" ? "}" : "}}";
  return (bytes) => {
    const head = headOf(bytes, closing);
    const node = at === "object" && isJsonObject(head) ? head.object : head;
    const metadata = isJsonObject(node) && isJsonObject(node.metadata) ? node.metadata : {};
    // A bookmark has no name.
    const known = typeof metadata.resourceVersion === "string" && metadata.name !== own;
    return known ? head : JSON.parse(decoder.decode(bytes));
  };
}

/** What comes before the status, closed; undefined when that is no JSON, so that the status was not where it should be. */
function headOf(bytes: Uint8Array, closing: string): unknown {
  const end = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).indexOf(STATUS);
  if (end < 0) return undefined;
  try {
    return JSON.parse(decoder.decode(bytes.subarray(0, end)) + closing);
  } catch {
    return undefined;
  }
}
