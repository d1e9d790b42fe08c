// The configuration of the plugin that makes the pod's interface (bridge, unless told): what the operator gave, completed from the node's subnet. Key for key
// what upstream's plugin makes on Linux.

import type { PluginConf } from "../plugin.ts";
import type { Result } from "../result.ts";
import { versionNamed } from "../version.ts";
import type { FlannelConf, Raw } from "./conf.ts";
import type { NodeSubnet } from "./subnet.ts";

/** `name` and `cniVersion` as they came to flannel. */
export function delegateRaw(
  { delegate, ipam, runtimeConfig }: FlannelConf,
  { name, raw: { cniVersion } }: PluginConf,
  { networks, subnets, mtu, ipMasq }: NodeSubnet,
): Raw {
  const type = delegate.type ?? "bridge";
  return {
    ...delegate,
    ...(runtimeConfig && { runtimeConfig }),
    name,
    type,
    // Where flanneld masquerades, the bridge need not.
    ...(!Object.hasOwn(delegate, "ipMasq") && { ipMasq: !ipMasq }),
    ...(!Object.hasOwn(delegate, "mtu") && { mtu }),
    ...(type === "bridge" && !Object.hasOwn(delegate, "isGateway") && { isGateway: true }),
    ...(cniVersion !== undefined && cniVersion !== "" && { cniVersion }),
    ipam: {
      ...ipam,
      type: ipam.type ?? "host-local",
      routes: [...routesOf(ipam), ...networks.map((dst) => ({ dst }))],
      ranges: subnets.map((subnet) => [{ subnet }]),
    },
  };
}

/** For GC on a node that has no subnet now: enough to find what the network has on disk. */
export function delegateRawWithoutSubnet(
  { delegate, ipam }: FlannelConf,
  { name, raw: { cniVersion } }: PluginConf,
): Raw {
  return {
    ...delegate,
    name,
    type: delegate.type ?? "bridge",
    ...(cniVersion !== undefined && cniVersion !== "" && { cniVersion }),
    ipam: { ...ipam, type: ipam.type ?? "host-local" },
  };
}

/** `raw`, as a plugin takes it. */
export function delegateConf(raw: Raw, prevResult?: Result): PluginConf {
  const text = (key: string) => (typeof raw[key] === "string" ? raw[key] : undefined);
  return {
    cniVersion: versionNamed(text("cniVersion")),
    name: text("name") ?? "",
    type: text("type") ?? "",
    prevResult,
    raw,
  };
}

function routesOf({ routes }: Raw): readonly unknown[] {
  return Array.isArray(routes) ? routes : [];
}
