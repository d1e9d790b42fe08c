// What `flannelctl install-cni` did to one file; printed as a line, or as JSON.

export interface Action {
  readonly done: "installed" | "replaced" | "unchanged" | "kept" | "removed";
  readonly path: string;
  /** Why it was kept. */
  readonly why?: string;
}
