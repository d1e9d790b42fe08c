// The plugins that are part of this program. Each is loaded when it is called: a pod waits for what is loaded.

import type { Plugin } from "./plugin.ts";

/** A plugin that also exists as a program of its own in CNI_PATH. */
export interface BuiltIn {
  readonly plugin: Plugin;
  /** Whether it knows every key of a configuration; where it does not, the program of CNI_PATH is called, which may. */
  knowsKeys(raw: Readonly<Record<string, unknown>>): boolean;
}

type Load = () => Promise<BuiltIn>;

const BUILT_IN: Readonly<Record<string, Load>> = {
  bridge: async () => {
    const [{ bridge }, { knowsKeys }] = await Promise.all([import("./bridge/bridge.ts"), import("./bridge/conf.ts")]);
    return { plugin: bridge, knowsKeys };
  },
  "host-local": async () => {
    const [{ hostLocal }, { knowsKeys }] = await Promise.all([
      import("./host_local/host_local.ts"),
      import("./host_local/conf.ts"),
    ]);
    return { plugin: hostLocal, knowsKeys };
  },
  portmap: async () => {
    const [{ portmap }, { knowsKeys }] = await Promise.all([
      import("./portmap/portmap.ts"),
      import("./portmap/conf.ts"),
    ]);
    return { plugin: portmap, knowsKeys };
  },
  loopback: async () => {
    const { loopback, knowsKeys } = await import("./loopback.ts");
    return { plugin: loopback, knowsKeys };
  },
};

/** By the names of `type` of a configuration. */
export function builtInNamed(type: string): Load | undefined {
  return Object.hasOwn(BUILT_IN, type) ? BUILT_IN[type] : undefined;
}
