// What the configuration says of the wireguard backend. Authority: upstream's documentation of the backend, and what its program makes of it.

import { readBackendOptions } from "../config/backend_options.ts";
import { type Fields, HIDDEN, quote } from "../config/json_fields.ts";
import type { WireguardKey } from "./wireguard_key.ts";
import { parseKey } from "./wireguard_key.ts";

const MODES = ["separate", "auto", "ipv4", "ipv6"] as const;

/**
 * "separate": a device for each family of the network, whose packets go by the same family. Otherwise one device for both, and packets go by IPv4, by IPv6,
 * or by the one that is likelier to arrive ("auto").
 */
export type WireguardMode = (typeof MODES)[number];

export interface WireguardConfig {
  /** UDP port of the device, in mode separate of the IPv4 one. */
  readonly listenPort: number;
  /** UDP port of the IPv6 device in mode separate. */
  readonly listenPortV6: number;
  /** Bytes of the underlay that may be used; 0 = all of the external interface's. */
  readonly mtu: number;
  readonly mode: WireguardMode;
  /** Seconds; 0: none. */
  readonly keepaliveSeconds: number;
  readonly presharedKey: WireguardKey | undefined;
}

const OPTIONS = {
  PSK: { type: "secret" },
  ListenPort: { type: "integer", min: 1, max: 65535, default: 51820 },
  ListenPortV6: { type: "integer", min: 1, max: 65535, default: 51821 },
  MTU: { type: "integer", min: 0, max: 65535, default: 0 },
  Mode: { type: "text", default: "separate" },
  PersistentKeepaliveInterval: { type: "integer", min: 0, max: 65535, default: 0 },
} as const satisfies Fields;

export const OPTION_NAMES: readonly string[] = Object.keys(OPTIONS);

/** Throws ConfigError; its text does not show the preshared key. */
export function readWireguardConfig(raw: unknown, where?: string): WireguardConfig {
  const options = readBackendOptions(raw, OPTIONS, where, ({ Mode, PSK }, wrong) => {
    if (!isMode(Mode)) wrong("Mode", quote(Mode), MODES.join(", "));
    if (PSK && !parseKey(PSK)) wrong("PSK", HIDDEN, "a key of 32 bytes in base64, as wg genpsk makes it");
  });
  const {
    ListenPort: listenPort,
    ListenPortV6: listenPortV6,
    MTU: mtu,
    PersistentKeepaliveInterval,
    Mode,
    PSK,
  } = options;
  return {
    listenPort,
    listenPortV6,
    mtu,
    mode: isMode(Mode) ? Mode : "separate",
    keepaliveSeconds: PersistentKeepaliveInterval,
    presharedKey: PSK ? parseKey(PSK) : undefined,
  };
}

function isMode(text: string): text is WireguardMode {
  return MODES.some((mode) => mode === text);
}
