// net-conf.json as the chart makes it of its values (templates/_config.tpl), to the letter: both hash it.

import type { Values } from "./values.ts";

/** The option of Backend that each value becomes. */
const OPTION_NAMES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  vxlan: {
    backendPort: "Port",
    vni: "VNI",
    GBP: "GBP",
    directRouting: "DirectRouting",
    mtu: "MTU",
    macPrefix: "MacPrefix",
  },
  wireguard: {
    backendPort: "ListenPort",
    backendPortv6: "ListenPortV6",
    psk: "PSK",
    mtu: "MTU",
    // upstream's chart writes it without quotes, which is no JSON.
    tunnelMode: "Mode",
    keepaliveInterval: "PersistentKeepaliveInterval",
  },
  udp: { backendPort: "Port" },
  ipip: { directRouting: "DirectRouting" },
  ipsec: { psk: "PSK" },
};

export function netConf(values: Values): string {
  const { podCidr, podCidrv6, flannel } = values;
  return `${goJson({
    Backend: backendOf(values),
    ...(podCidr ? { Network: podCidr } : { EnableIPv4: false }),
    ...(podCidrv6 && { IPv6Network: podCidrv6, EnableIPv6: true }),
    ...(flannel.enableNFTables && { EnableNFTables: true }),
  })}\n`;
}

/** Where net-conf.json stands: a pre-shared key is for nobody to read who may read ConfigMaps. */
export function netConfPlace(values: Values): "config map" | "own secret" | "given secret" {
  if (values.flannel.netConfSecret) return "given secret";
  return backendOf(values).PSK ? "own secret" : "config map";
}

function backendOf({ flannel }: Values): Readonly<Record<string, unknown>> {
  const values: Readonly<Record<string, unknown>> = { ...flannel };
  const named = Object.entries(OPTION_NAMES[flannel.backend] ?? {});
  const options = named.flatMap(([value, option]) => (values[value] ? [[option, values[value]]] : []));
  return { Type: flannel.backend, ...Object.fromEntries(options), ...flannel.backendOptions };
}

/** As Go's encoding/json prints it: keys in order, and nothing that HTML would take for its own. */
function goJson(value: unknown): string {
  const inOrder = (_: string, inner: unknown) =>
    typeof inner === "object" && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner;
  return JSON.stringify(value, inOrder, 2).replace(
    /[<>&\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
