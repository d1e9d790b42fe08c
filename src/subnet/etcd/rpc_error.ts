// What etcd answers to a request that it does not serve, as a StoreError that says what to do. The texts are those of etcd's
// etcdserver/api/v3rpc/rpctypes/error.go (3.4); gRPC's codes alone do not tell them apart.

import { Code, ConnectError } from "@connectrpc/connect";
import { StoreError, type StoreReason } from "../store_error.ts";

/** What was tried. */
export interface Operation {
  /** "read /coreos.com/network/subnets". */
  readonly action: string;
  /** What the user needs for it, undefined for what every user may do. */
  readonly needs?: { readonly permission: "read" | "readwrite"; readonly prefix: string };
}

export interface Asked {
  readonly operation: Operation;
  readonly endpoint: string;
  readonly username: string;
  readonly requestMs: number;
}

type Cause = readonly [StoreReason, string];

const NO_QUORUM =
  "fewer than half of the cluster's members are up and reach each other (no quorum); start those that are missing";

const CAUSES: readonly (readonly [RegExp, (asked: Asked) => Cause])[] = [
  [/etcdserver: no leader/, () => ["unreachable", `it knows no leader: ${NO_QUORUM}`]],
  [
    /etcdserver: (?:request timed out|leader changed|server stopped|not leader)/,
    () => ["unreachable", `the members did not agree in time, as when ${NO_QUORUM}`],
  ],
  [
    /database space exceeded/,
    () => [
      "unreachable",
      'its disk quota is used up (alarm NOSPACE), so it takes no writes; compact and defragment it, then "etcdctl alarm disarm"',
    ],
  ],
  [
    /corrupt cluster/,
    () => ["unreachable", "its data is damaged (alarm CORRUPT), so it takes no writes; restore the member"],
  ],
  [/too many requests/, () => ["unreachable", "it is overloaded"]],
  [/request is too large/, () => ["invalid", "the value is larger than its --max-request-bytes"]],
  [/required revision has been compacted/, () => ["compacted", "what was asked for is compacted; read it again"]],
  [
    /required revision is a future revision/,
    () => ["compacted", "it has less history than was seen before: its data was lost or replaced; read it again"],
  ],
  [
    /invalid user ID or password/,
    ({ username }) => [
      "denied",
      `user ${username} or its password is wrong; check --etcd-username and --etcd-password`,
    ],
  ],
  [
    /user name is empty|user name not found/,
    ({ username }) => [
      "denied",
      username === ""
        ? "it demands a user; give --etcd-username and --etcd-password"
        : `it knows no user ${username}; check --etcd-username`,
    ],
  ],
  [
    /invalid auth token/,
    ({ username }) => ["denied", `it does not take its own token for user ${username}; look at its log`],
  ],
  [/permission denied/, ({ operation, username }) => ["denied", withoutPermission(operation, username)]],
];

/** The user must authenticate (again): the token is unknown to this member, expired, or older than the last change of users. */
export function isTokenRefused(error: unknown): boolean {
  if (!(error instanceof ConnectError)) return false;
  return (
    /invalid auth token|revision of auth store is old|user name is empty/.test(error.rawMessage) ||
    error.code === Code.Unauthenticated
  );
}

/** The member that answered cannot serve; another one perhaps can. */
export function isMemberFailing(error: unknown): boolean {
  if (!(error instanceof ConnectError)) return false;
  return (
    error.code === Code.DeadlineExceeded || (error.code === Code.Unavailable && /etcdserver:/.test(error.rawMessage))
  );
}

/** No answer came, since the connection broke under the request. */
export function isBroken(error: unknown): boolean {
  if (!(error instanceof ConnectError) || /etcdserver:/.test(error.rawMessage)) return false;
  return [Code.Unavailable, Code.Internal, Code.Aborted, Code.Canceled, Code.Unknown].includes(error.code);
}

export function isLeaseMissing(error: unknown): boolean {
  return error instanceof ConnectError && /requested lease not found/.test(error.rawMessage);
}

export function rpcError(error: unknown, asked: Asked): unknown {
  if (error instanceof StoreError) return error;
  if (!(error instanceof ConnectError)) return error;
  const [reason, cause] = causeOf(error, asked);
  const message = `cannot ${asked.operation.action} in etcd at ${asked.endpoint}: ${cause}`;
  return new StoreError(reason, asked.endpoint, message, { cause: error });
}

function causeOf(error: ConnectError, asked: Asked): Cause {
  const { rawMessage, code } = error;
  for (const [text, cause] of CAUSES) if (text.test(rawMessage)) return cause(asked);
  if (code === Code.DeadlineExceeded) {
    return ["unreachable", `no answer within ${asked.requestMs / 1000} s; the member may hang, or ${NO_QUORUM}`];
  }
  if (code === Code.Unimplemented || /content-type|HTTP \d{3}|404/i.test(rawMessage)) {
    return ["invalid", `it does not speak etcd's v3 API (${rawMessage}); check --etcd-endpoints`];
  }
  if (isBroken(error)) return ["unreachable", `the connection broke (${rawMessage})`];
  return [code === Code.Unavailable ? "unreachable" : "invalid", rawMessage];
}

function withoutPermission({ needs }: Operation, username: string): string {
  const user = username === "" ? "this client" : `user ${username}`;
  if (!needs) return `permission denied to ${user}`;
  const { permission, prefix } = needs;
  return (
    `permission denied to ${user}; it needs ${permission} for prefix ${prefix} ` +
    `("etcdctl role grant-permission ROLE --prefix=true readwrite ${prefix}")`
  );
}
