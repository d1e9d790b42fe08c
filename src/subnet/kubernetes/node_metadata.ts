// A Node of which only the metadata is told (meta.k8s.io/v1 PartialObjectMetadata), put together with what is known of it: its pod CIDRs, which kube-apiserver
// lets nobody change once they are given ("node updates may not change podCIDR except from "" to valid"). Another uid is another Node. Pure.

import { isJsonObject } from "../../config/json_fields.ts";
import type { KubeNode } from "./node.ts";
import { isOlder } from "./resource_version.ts";

/** Whether `object`, a Node, came without spec and status; a server may send whole ones to whoever asks for metadata. */
export function isMetadataOnly(object: unknown): boolean {
  return isJsonObject(object) && !isJsonObject(object.spec);
}

/** The node as its new metadata say, with the pod CIDRs that are known of it. */
export function withMetadata(held: KubeNode | undefined, metadata: KubeNode): KubeNode {
  return held?.uid === metadata.uid ? { ...metadata, podCidrs: held.podCidrs } : metadata;
}

/** Whether its pod CIDRs have to be asked for: only nodes that are flannel's count. */
export function lacksSubnets({ podCidrs, annotations }: KubeNode): boolean {
  return podCidrs.length === 0 && annotations["kube-subnet-manager"] === "true";
}

/** Whether the node as it is known tells as much as an event would that has `metadata`. */
export function covers(known: KubeNode | undefined, { uid, resourceVersion }: KubeNode): boolean {
  if (known?.uid !== uid) return false;
  return known.resourceVersion === resourceVersion || isOlder(resourceVersion, known.resourceVersion);
}

/** The node after it was read: what is held came of events and may be newer than that. Undefined when it has to be read again. */
export function withRead(held: KubeNode | undefined, read: KubeNode): KubeNode | undefined {
  if (!held || !isOlder(read.resourceVersion, held.resourceVersion)) return read;
  if (held.uid !== read.uid || read.podCidrs.length === 0) return undefined;
  return { ...held, podCidrs: read.podCidrs };
}
