// Which side's configuration holds. A side whose configuration was taken away is no part of the network any more, and what is missing
// there must not be taken for removed: `rm --recursive` of the old side ends the migration and costs the new one nothing.

import { sameConfig } from "./difference.ts";
import type { Side } from "./reconcile.ts";

export type ConfigState =
  | { readonly kind: "same" }
  /** The other side is to get this side's. */
  | { readonly kind: "copy"; readonly from: Side }
  /** Both changed, or they were never the same. */
  | { readonly kind: "contradict" }
  /** This side has none, and is not to get one. */
  | { readonly kind: "gone"; readonly side: Side };

export type Texts = { readonly [S in Side]: string | undefined };

/** `agreed`: what both held last; `lost`: the side that lost all its data since, which is filled again. */
export function configState({ from, to }: Texts, agreed: string | undefined, lost: Side | undefined): ConfigState {
  if (from === undefined)
    return lost === "from" && to !== undefined ? { kind: "copy", from: "to" } : { kind: "gone", side: "from" };
  if (to === undefined)
    return agreed === undefined || lost === "to" ? { kind: "copy", from: "from" } : { kind: "gone", side: "to" };
  if (sameConfig(from, to)) return { kind: "same" };
  if (agreed !== undefined && sameConfig(to, agreed)) return { kind: "copy", from: "from" };
  if (agreed !== undefined && sameConfig(from, agreed)) return { kind: "copy", from: "to" };
  return { kind: "contradict" };
}
