// The ways from a pod on one node to a pod on another that are measured beside each other, by the names that --paths takes.

/** What makes a path: nothing (node to node), flanneld of this repository, upstream's, or the same commands as an administrator would type them. */
export type Path =
  | { readonly kind: "underlay" }
  | { readonly kind: "flanneld"; readonly backend: string }
  | { readonly kind: "upstream"; readonly backend: string }
  | { readonly kind: "by hand"; readonly backend: "vxlan" | "host-gw" };

export const PATHS = {
  underlay: { kind: "underlay" },
  "vxlan-by-hand": { kind: "by hand", backend: "vxlan" },
  vxlan: { kind: "flanneld", backend: "vxlan" },
  "host-gw-by-hand": { kind: "by hand", backend: "host-gw" },
  "host-gw": { kind: "flanneld", backend: "host-gw" },
  "upstream-udp": { kind: "upstream", backend: "udp" },
  udp: { kind: "flanneld", backend: "udp" },
  "upstream-vxlan": { kind: "upstream", backend: "vxlan" },
  "upstream-host-gw": { kind: "upstream", backend: "host-gw" },
} as const satisfies Readonly<Record<string, Path>>;

export type PathName = keyof typeof PATHS;
export const PATH_NAMES = Object.keys(PATHS) as readonly PathName[];

/** Without --paths; upstream's only with its program at hand. */
export function defaultPaths(upstream: boolean): readonly PathName[] {
  const paths = ["underlay", "vxlan-by-hand", "vxlan", "host-gw-by-hand", "host-gw"] as const;
  return upstream ? [...paths, "upstream-udp", "udp"] : [...paths, "udp"];
}

/** How the underlay passes packets on: veth's whole super-packets of 64 KiB, or a plain network card's. */
export const FORMS = ["lab", "wire"] as const;
export type Form = (typeof FORMS)[number];
