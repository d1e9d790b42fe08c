// Why a connection to etcd could not be made, in words: what happened, which side refused, which name, authority or date was
// the matter, and which flag changes it. Codes are those of the system, of node:tls (X509 verification) and of BoringSSL,
// whose alerts (RFC 8446, 6.2) come from the server.

import { X509Certificate } from "node:crypto";
import type { PeerCertificate } from "node:tls";
import { ConnectTimeout } from "../http2_session.ts";
import { StoreError, type StoreReason } from "../store_error.ts";
import { plainAnswer, shownCertificate } from "./endpoint_probe.ts";
import type { Target } from "./endpoints.ts";
import type { EtcdTls } from "./options.ts";
import type { TlsTexts } from "./tls_files.ts";

/** What is known about a failed connection besides its error. */
export interface Attempt {
  readonly target: Target;
  readonly files: EtcdTls;
  /** What was used; undefined for a connection without TLS. */
  readonly texts: TlsTexts | undefined;
}

type Cause = readonly [StoreReason, string];

const SYSTEM: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused; check that etcd runs there, and the port",
  EHOSTUNREACH: "no route to host; check the network",
  ENETUNREACH: "network unreachable; check this host's routes",
  EACCES: "the kernel forbids it; check this host's firewall and routes",
  EPERM: "the kernel forbids it; check this host's firewall",
};

const UNKNOWN_AUTHORITY = new Set([
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "CERT_SIGNATURE_FAILURE",
  "CERT_UNTRUSTED",
]);

const CLIENT_AUTH = "1.3.6.1.5.5.7.3.2";

/** `error`, which ended an attempt to connect, as a StoreError. Asks the server again where the error alone does not tell. */
export async function connectionError(error: unknown, attempt: Attempt, now: number): Promise<StoreError> {
  const { url, host } = attempt.target.endpoint;
  const [reason, cause] = await causeOf(error, attempt, now);
  const where = host === attempt.target.address ? url : `${url} (${attempt.target.address})`;
  return new StoreError(reason, url, `cannot reach etcd at ${where}: ${cause}`, { cause: error });
}

async function causeOf(error: unknown, attempt: Attempt, now: number): Promise<Cause> {
  const { target, texts } = attempt;
  const code = codeOf(error);
  const system = SYSTEM[code];
  if (system) return ["unreachable", `${code}, ${system}`];
  if (error instanceof ConnectTimeout) {
    const seconds = target.connectMs / 1000;
    return ["unreachable", `no answer within ${seconds} s; check that the host is up and no firewall drops packets`];
  }
  if (!texts) return await plainCause(code, attempt);
  if (/_ALERT_/.test(code)) return refusedUs(code, attempt, texts, now);
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") return ["invalid", wrongName(error, target)];
  if (UNKNOWN_AUTHORITY.has(code)) return ["invalid", unknownAuthority(await shownCertificate(target), attempt, texts)];
  if (code === "CERT_HAS_EXPIRED" || code === "CERT_NOT_YET_VALID") {
    return ["invalid", wrongTime(code, await shownCertificate(target), now)];
  }
  if (/^(?:CERT|UNABLE|ERROR_IN_CERT|INVALID|PATH_LENGTH|HOSTNAME)_/.test(code)) {
    return ["invalid", `this side refuses the server's certificate: ${code} (${messageOf(error)})`];
  }
  const answer = await plainAnswer(target);
  if (answer) {
    const plain = target.endpoint.url.replace("https:", "http:");
    return ["invalid", `the server speaks plain HTTP ("${answer}"), not TLS; give ${plain}, or etcd its --cert-file`];
  }
  return ["unreachable", `the server ended the connection: ${[...new Set([code, messageOf(error)])].join(", ")}`];
}

/** A TCP connection stood, and no HTTP/2 came of it. */
async function plainCause(code: string, { target }: Attempt): Promise<Cause> {
  const certificate = await shownCertificate(target);
  if (certificate) {
    const secure = target.endpoint.url.replace("http:", "https:");
    return ["invalid", `the server speaks TLS, not plain HTTP; give ${secure} and --etcd-cafile`];
  }
  const answer = await plainAnswer(target);
  if (answer) {
    return [
      "invalid",
      `the server answers "${answer}" but does not speak gRPC: it is no etcd v3; check --etcd-endpoints`,
    ];
  }
  return ["unreachable", `the server ended the connection (${code})`];
}

function unknownAuthority(shown: PeerCertificate | undefined, { files }: Attempt, { ca }: TlsTexts): string {
  const refused = `this side refuses the server's certificate${shown ? ` (${nameOf(shown.subject)})` : ""}`;
  const issuer = shown ? `its issuer ${nameOf(shown.issuer)}` : "its issuer";
  if (files.caFile === "") {
    return `${refused}: ${issuer} is none of the system's authorities; give --etcd-cafile`;
  }
  const held = [...String(ca).matchAll(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g)].map(([pem]) =>
    dnOf(new X509Certificate(pem).subject),
  );
  // Two authorities may have the same name, made anew for instance.
  const same = shown !== undefined && held.includes(nameOf(shown.issuer)) ? ", another one of that name" : "";
  return `${refused}: ${issuer} is not in ${files.caFile} (which holds ${held.join(" and ")}${same}); give --etcd-cafile the authority that signed it`;
}

function wrongTime(code: string, shown: PeerCertificate | undefined, now: number): string {
  const [what, from, to] =
    code === "CERT_HAS_EXPIRED"
      ? ["expired", " on ", shown?.valid_to]
      : ["is not valid yet", " before ", shown?.valid_from];
  const date = to ? `${from}${isoTime(to)}` : "";
  const subject = shown ? ` (${nameOf(shown.subject)})` : "";
  const clock = `this host's clock says ${isoTime(now)}`;
  return `this side refuses the server's certificate${subject}: it ${what}${date}, ${clock}; renew it, or set the clock`;
}

function wrongName(error: unknown, { endpoint }: Target): string {
  const certificate = error instanceof Error && "cert" in error ? (error.cert as PeerCertificate) : undefined;
  const names = certificate?.subjectaltname ?? "no name at all";
  const subject = certificate ? ` (${nameOf(certificate.subject)})` : "";
  return (
    `this side refuses the server's certificate${subject}: it is for ${names}, and ${endpoint.host} was asked for; ` +
    "name the endpoint as the certificate does, or issue one with that name"
  );
}

/** The server ended the handshake with an alert; of a missing, strange and expired certificate Go's TLS says the same. */
function refusedUs(code: string, { files }: Attempt, { certificate }: TlsTexts, now: number): Cause {
  const alert = code
    .replace(/^.*_ALERT_/, "")
    .toLowerCase()
    .replaceAll("_", " ");
  if (alert === "no application protocol") {
    return ["invalid", "the server speaks TLS but not HTTP/2: it is no etcd v3; check --etcd-endpoints"];
  }
  if (!/certificate|unknown ca|access denied|decrypt error|handshake failure/.test(alert)) {
    return ["invalid", `the server ended the TLS handshake: ${alert}; check that it is etcd's client port`];
  }
  if (!certificate) {
    const advice = "it demands a client certificate; give --etcd-certfile and --etcd-keyfile";
    return ["denied", `the server refuses this client (${alert}): ${advice}`];
  }
  const refused = `the server refuses client certificate ${files.certFile} (${dnOf(certificate.subject)}; ${alert})`;
  if (now > Date.parse(certificate.validTo)) {
    return [
      "denied",
      `${refused}: client certificate ${files.certFile} expired on ${isoTime(certificate.validTo)}; renew it`,
    ];
  }
  if (now < Date.parse(certificate.validFrom)) {
    return ["denied", `${refused}: it is not valid before ${isoTime(certificate.validFrom)}; check the clocks`];
  }
  const usages: readonly string[] = certificate.keyUsage ?? [];
  if (usages.length > 0 && !usages.includes(CLIENT_AUTH)) {
    return ["denied", `${refused}: it is not for client authentication; issue one that is`];
  }
  const issuer = dnOf(certificate.issuer);
  return [
    "denied",
    `${refused}: etcd's --trusted-ca-file must hold its issuer ${issuer}; give a --etcd-certfile of that authority`,
  ];
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : messageOf(error);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** "CN=etcd, O=example" of what node:tls tells of a name. */
function nameOf(name: unknown): string {
  const parts = Object.entries((name ?? {}) as Record<string, string | string[]>).map(
    ([key, value]) => `${key}=${value}`,
  );
  return sorted(parts);
}

/** The same of X509Certificate's "O=example\nCN=etcd". */
function dnOf(name: string): string {
  return sorted(name.split("\n"));
}

function sorted(parts: string[]): string {
  return parts.toSorted((a, b) => Number(b.startsWith("CN=")) - Number(a.startsWith("CN="))).join(", ");
}

function isoTime(time: string | number): string {
  return new Date(time).toISOString().replace(".000Z", "Z");
}
