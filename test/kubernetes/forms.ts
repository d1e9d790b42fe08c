// The forms in which kube-apiserver gives its objects, and how a client's Accept chooses one (k8s.io/apiserver, endpoints/handlers/negotiation): whole, or
// metadata alone (meta.k8s.io/v1 PartialObjectMetadata). A clause that asks for what the server does not have is passed over; when none is left, it is 406.

import { notAcceptable } from "./answers.ts";
import type { Flaws } from "./node_store.ts";

export type Form = "whole" | "PartialObjectMetadata" | "PartialObjectMetadataList";

/** "whole": as servers before 1.15, which do not know the wish. "refused": 406, by something on the way that takes plain JSON only. */
export type MetadataOnly = "granted" | "whole" | "refused";

const NONE: Flaws = {};
const VERSIONS = new Set(["v1", "v1beta1"]);

/** What the first clause asks for that the server has. Throws ApiFailure. */
export function formFor(accept = "application/json", metadataOnly: MetadataOnly = "granted"): Form {
  if (metadataOnly === "refused" && accept.includes("as=")) throw notAcceptable();
  for (const { type, parameters } of clausesOf(accept)) {
    if (!["application/json", "application/*", "*/*"].includes(type)) continue;
    const { as, g, v } = parameters;
    if (as === undefined && g === undefined && v === undefined) return "whole";
    if (metadataOnly === "whole" || g !== "meta.k8s.io" || !VERSIONS.has(v ?? "")) continue;
    if (as === "PartialObjectMetadata" || as === "PartialObjectMetadataList") return as;
  }
  throw notAcceptable();
}

interface Clause {
  readonly type: string;
  readonly parameters: Readonly<Record<string, string>>;
}

/** The best first; those of one quality as they were given, and none of quality 0. */
function clausesOf(accept: string): readonly Clause[] {
  const clauses = accept.split(",").map((text) => {
    const [type = "", ...given] = text.split(";").map((part) => part.trim());
    const parameters = Object.fromEntries(given.map((part) => part.split("=", 2).map((each) => each.trim())));
    const { q = "1", ...rest } = parameters as Record<string, string>;
    return { type, parameters: rest, quality: Number(q) };
  });
  return clauses.filter(({ quality }) => quality > 0).sort((a, b) => b.quality - a.quality);
}

/** One object in `form`; a list is none, and a watch's objects are single ones whatever list is asked for. */
export function inForm(form: Form, node: object, flaws: Flaws = NONE): object {
  if (form !== "PartialObjectMetadata") return node;
  const { metadata } = node as { metadata: Readonly<Record<string, unknown>> };
  return { kind: form, apiVersion: "meta.k8s.io/v1", metadata: flaws === NONE ? metadata : flawed(metadata, flaws) };
}

/** A list in `form`. Throws ApiFailure for the form of single objects. */
export function listInForm(form: Form, list: { readonly items: readonly object[] }): object {
  if (form === "whole") return list;
  if (form === "PartialObjectMetadata") {
    throw notAcceptable("you requested PartialObjectMetadata, but the requested object is a list (*core.NodeList)");
  }
  const items = list.items.map((item) => inForm("PartialObjectMetadata", item));
  return { ...list, kind: form, apiVersion: "meta.k8s.io/v1", items };
}

function flawed(metadata: Readonly<Record<string, unknown>>, flaws: Flaws): object {
  const { uid, annotations, ...rest } = metadata;
  return {
    ...rest,
    ...(!flaws.metadataWithoutUid && uid !== undefined && { uid }),
    ...(!flaws.metadataWithoutAnnotations && annotations !== undefined && { annotations }),
  };
}
