import { expect, test } from "bun:test";
import { type Outcome2, outcomeOf } from "./answer2.ts";
import type { HttpAnswer } from "./http.ts";

const URL = "http://192.0.2.1:2379";
const ETCD = { "content-type": "application/json", "x-etcd-cluster-id": "419ef153a68d935e", "x-etcd-index": "7" };

function answer(status: number, body: unknown, headers: HttpAnswer["headers"] = ETCD): HttpAnswer {
  const endpoint = { url: URL, secure: false, host: "192.0.2.1", port: 2379 };
  const target = { endpoint, address: "192.0.2.1", connectMs: 1_000 };
  return { target, status, headers, text: typeof body === "string" ? body : JSON.stringify(body) };
}

function outcome(given: HttpAnswer, username = ""): Outcome2 | { readonly reason: string; readonly message: string } {
  try {
    return outcomeOf(given, { what: "read /net/config in etcd", username });
  } catch (error) {
    const { reason, message } = error as { reason: string; message: string };
    return { reason, message };
  }
}

const error = (errorCode: number, message = "", cause = "") => ({ errorCode, message, cause, index: 7 });
const NODE = { key: "/net/config", value: "{}", modifiedIndex: 5, createdIndex: 4 };
const POSITION = { cluster: "419ef153a68d935e", index: 7, term: 0 };
const HTML = { "content-type": "text/html" };

test("an answer tells what it was asked for, and from where in which history", () => {
  expect(outcome(answer(200, { action: "get", node: NODE }, { ...ETCD, "x-raft-term": "3" }))).toEqual({
    kind: "done",
    event: { action: "get", node: NODE },
    position: { ...POSITION, term: 3 },
  });
});

test.each([
  ["no such key", 404, 100],
  ["changed since", 412, 101],
  ["there already", 412, 105],
  ["history cleared", 400, 401],
])("%s is an answer", (_, status, code) => {
  expect(outcome(answer(status, error(code)))).toEqual({ kind: "not done", code, position: POSITION });
});

test.each([
  [
    "no v2",
    answer(404, "404 page not found\n", { "content-type": "text/plain" }),
    "absent",
    "start etcd with --enable-v2",
  ],
  [
    "a proxy's 404",
    answer(404, "<h1>Not found</h1>", HTML),
    "invalid",
    'answered 404 with text/html ("<h1>Not found</h1>")',
  ],
  ["a gateway's 502", answer(502, "<h1>Bad gateway</h1>", HTML), "unreachable", "look at what stands between"],
  ["a web page", answer(200, "<html>", HTML), "invalid", "it is no etcd: check --etcd-endpoints"],
  ["another program's JSON", answer(200, { node: NODE }, {}), "invalid", "is not JSON of etcd"],
  ["JSON that is no object", answer(200, "7"), "invalid", "is not JSON of etcd"],
  ["nobody", answer(401, error(110, "The request requires user authentication")), "denied", "give --etcd-username"],
  ["old form of it", answer(401, { message: "Insufficient credentials" }, {}), "denied", "Insufficient credentials"],
  [
    "no majority",
    answer(500, error(300, "Raft Internal Error", "etcdserver: request timed out")),
    "unreachable",
    "lacks a majority",
  ],
  ["an election", answer(500, error(301, "During Leader Election")), "unreachable", "has no leader"],
  ["a fault inside", answer(500, { message: "Internal Server Error" }, {}), "unreachable", "look at etcd's log"],
  ["a file above", answer(400, error(104, "Not a directory", "/net")), "invalid", "check --etcd-prefix"],
] as const)("%s is a fault that says what to do", (_, given, reason, says) => {
  const found = outcome(given);
  expect(found).toMatchObject({ reason });
  expect("message" in found && found.message).toStartWith("cannot read /net/config in etcd: ");
  expect("message" in found && found.message).toContain(says);
});

test("a user who may not is named", () => {
  const found = outcome(answer(401, error(110)), "flannel");
  expect("message" in found && found.message).toContain("check that --etcd-username flannel exists");
});
