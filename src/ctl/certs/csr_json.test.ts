import { expect, test } from "bun:test";
import { readCsrJson } from "./csr_json.ts";

const nobody = { countries: [], states: [], localities: [], organizations: [], units: [] };
const ecdsa = { algorithm: "ecdsa", bits: 256 };

test.each([
  ["nothing", "{}", { subject: nobody, hosts: [], key: ecdsa }],
  ["keys in any case", '{"cn": "a", "HOSTS": ["::1"]}', { subject: { ...nobody, commonName: "a" }, hosts: ["::1"] }],
  ["a host that is no text", '{"hosts": ["", "a"]}', { hosts: ["a"] }],
  ["a key", '{"key": {"algo": "rsa", "size": 4096}}', { key: { algorithm: "rsa", bits: 4096 } }],
  [
    "two names",
    '{"names": [{"C": "JP", "O": "a"}, {"O": "b", "L": ""}]}',
    { subject: { ...nobody, countries: ["JP"], organizations: ["a", "b"] } },
  ],
  ["an authority", '{"ca": {"expiry": "87600h", "pathlen": 1}}', { expiryMs: 315_360_000_000, pathLength: 1 }],
  ["a path of no limit", '{"ca": {"pathlen": 0}}', { subject: nobody }],
  ["a path of none", '{"ca": {"pathlen": 0, "pathlenzero": true}}', { pathLength: 0 }],
  [
    "a key misspelt",
    '{"host": ["a"]}',
    { hosts: [], warnings: ['f: the unknown key "host" has no effect; did you mean "hosts"'] },
  ],
])("a request with %s", (_, text, wanted) => {
  const read = readCsrJson(text, "f");
  expect(read).toMatchObject(wanted);
  if (!("pathLength" in wanted)) expect(read.pathLength).toBeUndefined();
});

const HOST = "a DNS name (also *.example.org), IPv4 or IPv6 address, mail address or URI, without http:// and port";

test.each([
  ["[]", ["f: got [], want a JSON object"]],
  ['{"CN": 1, "hosts": "a"}', ["f: CN: got 1, want text in double quotes", 'f: hosts: got "a", want a JSON list']],
  [
    '{"hosts": ["a", "https://a:2379", 1]}',
    [`f: hosts[1]: got "https://a:2379", want ${HOST}`, `f: hosts[2]: got 1, want ${HOST}`],
  ],
  ['{"key": {"algo": "dsa", "size": 2048}}', ['f: key.algo: got "dsa", want "rsa" or "ecdsa"']],
  ['{"key": {"size": 2048}}', ['f: key.algo: missing, want "rsa" or "ecdsa"']],
  ['{"key": {"algo": "rsa"}}', ["f: key.size: missing, want 2048 to 8192"]],
  ['{"key": {"algo": "rsa", "size": 1024}}', ["f: key.size: got 1024, want 2048 to 8192"]],
  ['{"key": {"algo": "ecdsa", "size": 2048}}', ["f: key.size: got 2048, want 256, 384 or 521"]],
  [
    '{"names": [{"C": "Japan"}, "x"], "ca": {"expiry": "ever"}}',
    [
      'f: names[1]: got "x", want a JSON object',
      'f: names[0].C: got "Japan", want the two letters of a country',
      'f: ca.expiry: got "ever", want a time such as "8760h", "365d" or "10y"',
    ],
  ],
])("all that is wrong in %s is named", (text, faults) => {
  expect(() => readCsrJson(text, "f")).toThrow(faults.join("\n"));
});
