// What etcd's v2 API answers: JSON bodies, headers that tell where in which store's history an answer was read, and errors by
// number (etcd's Documentation/v2/errorcode.md), each as a StoreError that says what to do.

import { StoreError, type StoreReason } from "../store_error.ts";
import type { HttpAnswer } from "./http.ts";

export interface Node2 {
  /** Absolute, "/coreos.com/network/subnets/10.5.1.0-24". */
  readonly key: string;
  readonly value?: string;
  readonly dir?: boolean;
  readonly nodes?: readonly Node2[];
  /** By the server's clock; absent for what never ends. */
  readonly expiration?: string;
  /** Seconds left, rounded up. */
  readonly ttl?: number;
  /** Changed by a refresh of the TTL too. */
  readonly modifiedIndex: number;
  readonly createdIndex: number;
}

/** An answer about keys, and each event of a watch. */
export interface Event2 {
  readonly action: string;
  readonly node: Node2;
}

interface Error2 {
  readonly errorCode?: number;
  readonly message?: string;
  readonly cause?: string;
}

/** Where an answer was read. */
export interface Position2 {
  /** X-Etcd-Cluster-ID. A cluster that lost its data and is started again as before has the same one. */
  readonly cluster: string;
  /** X-Etcd-Index: raised by each change of any key. */
  readonly index: number;
  /** X-Raft-Term; 0 where the answer does not tell. */
  readonly term: number;
}

export const ERROR2 = { keyNotFound: 100, compareFailed: 101, nodeExists: 105, eventIndexCleared: 401 } as const;

/** What was asked, for messages: "read /coreos.com/network/config", and as whom. */
export interface Asked {
  readonly what: string;
  readonly username: string;
}

export type Outcome2 =
  | { readonly kind: "done"; readonly event: Event2; readonly position: Position2 }
  /** One of ERROR2's: an answer rather than a fault. */
  | { readonly kind: "not done"; readonly code: number; readonly position: Position2 };

/** Throws StoreError for what is a fault. */
export function outcomeOf(answer: HttpAnswer, asked: Asked): Outcome2 {
  const body = parseAnswer(answer, asked);
  const position = positionOf(answer);
  if (isEvent(body)) return { kind: "done", event: body, position };
  const { errorCode: code } = body as Error2;
  if (Object.values<number | undefined>(ERROR2).includes(code)) return { kind: "not done", code: code ?? 0, position };
  throw faultOf(answer, body as Error2, asked);
}

export function positionOf({ headers }: Pick<HttpAnswer, "headers">): Position2 {
  const text = (name: string) => {
    const value = headers[name];
    return typeof value === "string" ? value : "";
  };
  return {
    cluster: text("x-etcd-cluster-id"),
    index: Number(text("x-etcd-index")),
    term: Number(text("x-raft-term")),
  };
}

export function isEvent(body: unknown): body is Event2 {
  const node = (body as Partial<Event2> | null)?.node;
  return typeof node?.key === "string" && Number.isSafeInteger(node.modifiedIndex);
}

function parseAnswer(answer: HttpAnswer, asked: Asked): unknown {
  try {
    const body: unknown = JSON.parse(answer.text);
    if (typeof body === "object" && body !== null && positionOf(answer).cluster !== "") return body;
    // Without etcd's headers it may still be an error of etcd's: the one of a user who may not.
    if ("message" in (body as object)) return body;
  } catch {
    // Said below.
  }
  throw notEtcd(answer, asked);
}

function notEtcd({ target, status, headers, text }: HttpAnswer, { what }: Asked): StoreError {
  const { url } = target.endpoint;
  // The answer of Go's router; a proxy has its own page.
  if (status === 404 && text.trim() === "404 page not found") {
    const cause =
      `the server at ${url} does not serve the v2 API (404 for /v2/keys); ` +
      "start etcd with --enable-v2 (up to etcd 3.5; later ones have none), or use --etcd-api=3";
    return new StoreError("absent", url, `cannot ${what}: ${cause}`);
  }
  if (/HTTP request to an HTTPS server/i.test(text)) {
    const cause = `the server at ${url} speaks TLS, not plain HTTP; give ${url.replace("http:", "https:")} and --etcd-cafile`;
    return new StoreError("invalid", url, `cannot ${what}: ${cause}`);
  }
  const start = text.trim().replace(/\s+/g, " ").slice(0, 60);
  const got = `${url} answered ${status} with ${headers["content-type"] ?? "no type"} ("${start}")`;
  // A gateway that has no etcd behind it now may have one later.
  const [reason, advice]: readonly [StoreReason, string] =
    status >= 500
      ? ["unreachable", "look at what stands between, or at etcd's log"]
      : ["invalid", "it is no etcd: check --etcd-endpoints"];
  return new StoreError(reason, url, `cannot ${what}: ${got}, which is not JSON of etcd; ${advice}`);
}

function faultOf({ target, status }: HttpAnswer, error: Error2, { what, username }: Asked): StoreError {
  const { url } = target.endpoint;
  const { errorCode: code = 0, message = "", cause = "" } = error;
  const said = `${url} answered ${code || status}: ${message}${cause ? ` (${cause})` : ""}`;
  if (status === 401 || status === 403 || code === 110) {
    const advice =
      username === ""
        ? "give --etcd-username and --etcd-password of a user who may"
        : `check that --etcd-username ${username} exists, --etcd-password is right, and a role lets it`;
    return new StoreError("denied", url, `cannot ${what}: ${said}; ${advice}`);
  }
  if (code >= 300 && code < 400) {
    const advice = "the cluster has no leader or lacks a majority of its members: bring them back";
    return new StoreError("unreachable", url, `cannot ${what}: ${said}; ${advice}`);
  }
  if (code === 403 || /no space/i.test(cause)) return new StoreError("full", url, `cannot ${what}: ${said}`);
  if (status >= 500) return new StoreError("unreachable", url, `cannot ${what}: ${said}; look at etcd's log`);
  return new StoreError("invalid", url, `cannot ${what}: ${said}; check --etcd-prefix and what holds its keys`);
}
