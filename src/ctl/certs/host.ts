// Whom a certificate may speak for: subject alternative names (RFC 5280 4.2.1.6). Go's TLS, and so etcd, looks at nothing else: neither at CN, nor for an
// address among the DNS names. What a text is (address, mail address, URI, DNS name) is told as cfssl tells it.

import { GeneralName, SubjectAlternativeName } from "@peculiar/asn1-x509";
import { ConfigError } from "../../config/fault.ts";
import { parseAddress } from "../../ip/address.ts";

export interface Host {
  readonly kind: "ip" | "email" | "uri" | "dns";
  /** Addresses in canonical text, DNS names as they were given. */
  readonly value: string;
}

const LABEL = /^[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$/;

/** The host that `text` names, or undefined when it is none: see HOST_WANTED. */
export function parseHost(text: string): Host | undefined {
  const address = parseAddress(text);
  if (address !== undefined) return { kind: "ip", value: address };
  if (/^[^\s@:/]+@[^\s@:/]+$/.test(text)) return { kind: "email", value: text };
  // Somebody who gives https:// has copied an endpoint: as a name it would never match.
  if (/^(?!https?:)[a-z][a-z0-9+.-]*:\/\/[!-~]+$/i.test(text)) return { kind: "uri", value: text };
  return isDnsName(text) ? { kind: "dns", value: text } : undefined;
}

export const HOST_WANTED =
  "a DNS name (also *.example.org), IPv4 or IPv6 address, mail address or URI, without http:// and port";

/** The host that text names which was looked at before. */
export function hostFrom(text: string): Host {
  const host = parseHost(text);
  if (host) return host;
  throw new ConfigError([{ where: "host", got: JSON.stringify(text), want: HOST_WANTED }]);
}

/** As Go matches: a star only as the whole first label, and never alone. */
function isDnsName(text: string): boolean {
  const labels = text.replace(/\.$/, "").split(".");
  if (text.length > 253 || labels.every((label) => /^\d+$/.test(label))) return false;
  if (labels[0] === "*" && labels.length > 1) labels.shift();
  return labels.every((label) => LABEL.test(label));
}

const FIELDS = { ip: "iPAddress", email: "rfc822Name", uri: "uniformResourceIdentifier", dns: "dNSName" } as const;

export function encodeHosts(hosts: readonly Host[]): SubjectAlternativeName {
  return new SubjectAlternativeName(hosts.map(({ kind, value }) => new GeneralName({ [FIELDS[kind]]: value })));
}

/** Names of other kinds, which neither cfssl nor this makes, are left out. */
export function decodeHosts(names: SubjectAlternativeName): readonly Host[] {
  return names.flatMap((name): readonly Host[] => {
    if (name.iPAddress !== undefined) {
      return [{ kind: "ip", value: parseAddress(name.iPAddress) ?? name.iPAddress }];
    }
    if (name.rfc822Name !== undefined) return [{ kind: "email", value: name.rfc822Name }];
    if (name.uniformResourceIdentifier !== undefined) return [{ kind: "uri", value: name.uniformResourceIdentifier }];
    return name.dNSName === undefined ? [] : [{ kind: "dns", value: name.dNSName }];
  });
}
