import { describe, expect, test } from "bun:test";
import { StoreError } from "../store_error.ts";
import { Endpoints, parseEndpoint, type Resolver, type Target } from "./endpoints.ts";
import { ETCD_TIMING, type EtcdOptions } from "./options.ts";

const signal = new AbortController().signal;
const NO_TLS = { caFile: "", certFile: "", keyFile: "" };

function options(endpoints: readonly string[], changes: Partial<EtcdOptions> = {}): EtcdOptions {
  const timing = { ...ETCD_TIMING, requestMs: 50 };
  return { endpoints, discoverySrv: "", prefix: "/", tls: NO_TLS, username: "", password: "", timing, ...changes };
}

function resolver(changes: Partial<Resolver> = {}): Resolver {
  return {
    lookup: async (host) => [{ address: `address of ${host}`, family: 4 }],
    resolveSrv: async () => [],
    ...changes,
  };
}

function refusal({ endpoint }: Target): StoreError {
  return new StoreError("unreachable", endpoint.url, `${endpoint.url} refused`);
}

test.each([
  ["http://127.0.0.1:2379", "http://127.0.0.1:2379"],
  ["https://etcd.example", "https://etcd.example:2379"],
  ["https://etcd.example:443/", "https://etcd.example:443"],
  ["HTTPS://ETCD.example:2379", "https://etcd.example:2379"],
  ["https://[fd00::1]:2379", "https://[fd00::1]:2379"],
  ["http://[::1]", "http://[::1]:2379"],
  ["etcd:4001", "http://etcd:4001"],
])("parseEndpoint takes %s", (text, url) => {
  expect(parseEndpoint(text, false).url).toBe(url);
});

test("parseEndpoint takes what has no scheme for TLS when there are files for it", () => {
  expect(parseEndpoint("etcd:2379", true)).toEqual({
    url: "https://etcd:2379",
    secure: true,
    host: "etcd",
    port: 2379,
  });
});

test.each([
  "",
  "http://",
  "ftp://a:1",
  "http://a:0",
  "http://a:70000",
  "http://a:b",
  "http://a/path",
  "http://user@a",
  "http://::1:2379",
  "http://[1.2.3.4]",
])("parseEndpoint refuses %j, and names the flag", (text) => {
  expect(() => parseEndpoint(text, false)).toThrow(`cannot use --etcd-endpoints: got ${text}, want`);
});

describe("Endpoints.connect", () => {
  test("goes on to the next endpoint, and begins with the good one the next time", async () => {
    const endpoints = new Endpoints(options(["http://a:1", "http://b:2", "http://c:3"]), resolver());
    const tried: string[] = [];
    const attempt = async (target: Target) => {
      tried.push(target.endpoint.host);
      if (target.endpoint.host === "a") throw refusal(target);
      return target.address;
    };
    expect(await endpoints.connect(attempt, signal)).toBe("address of b");
    await endpoints.connect(attempt, signal);
    endpoints.avoid("http://b:2");
    await endpoints.connect(attempt, signal);
    expect(tried).toEqual(["a", "b", "b", "c"]);
  });

  test("tells the cause of each when all fail", async () => {
    const endpoints = new Endpoints(options(["http://a:1", "http://b:2"]), resolver());
    const failed = endpoints.connect(async (target) => {
      throw target.endpoint.host === "a" ? new StoreError("invalid", "a", "a is wrong") : refusal(target);
    }, signal);
    await expect(failed).rejects.toMatchObject({ reason: "unreachable", message: "a is wrong; http://b:2 refused" });
  });

  test("asks for the addresses anew each time, and tries them all within the time of one", async () => {
    let asked = 0;
    const lookup = async () => [1, 2].map((n) => ({ address: `192.0.2.${10 * asked + n}`, family: 4 }));
    const endpoints = new Endpoints(
      options(["http://a:1"]),
      resolver({ lookup: () => lookup().finally(() => asked++) }),
    );
    const tried: Target[] = [];
    const attempt = async (target: Target) => {
      tried.push(target);
      throw refusal(target);
    };
    for (let i = 0; i < 2; i++) await endpoints.connect(attempt, signal).catch(() => {});
    expect(tried.map(({ address }) => address)).toEqual(["192.0.2.1", "192.0.2.2", "192.0.2.11", "192.0.2.12"]);
    expect(tried[0]?.connectMs).toBe(ETCD_TIMING.connectMs / 2);
  });

  test.each([
    ["fails", () => Promise.reject(Object.assign(new Error("x"), { code: "ENOTFOUND" })), "ENOTFOUND"],
    ["is silent", () => new Promise<never>(() => {}), "no answer within 0.05 s"],
  ])(
    "uses the addresses of before when the name server %s, and names the host when there are none",
    async (_how, broken, cause) => {
      let works = true;
      const lookup = () => (works ? Promise.resolve([{ address: "192.0.2.1", family: 4 }]) : broken());
      const endpoints = new Endpoints(options(["http://a:1"]), resolver({ lookup }));
      expect(await endpoints.connect(async ({ address }) => address, signal)).toBe("192.0.2.1");
      works = false;
      expect(await endpoints.connect(async ({ address }) => address, signal)).toBe("192.0.2.1");
      const fresh = new Endpoints(options(["http://a:1"]), resolver({ lookup }));
      const failure = await fresh.connect(async () => "", signal).catch(String);
      expect(failure).toContain(`host name a does not resolve (${cause})`);
    },
  );

  test("ends with the signal's reason", async () => {
    const endpoints = new Endpoints(options(["http://a:1"]), resolver({ lookup: () => new Promise(() => {}) }));
    const controller = new AbortController();
    const connecting = endpoints.connect(async () => "", controller.signal).catch(String);
    controller.abort(new Error("enough"));
    expect(await connecting).toBe("Error: enough");
  });
});

describe("Endpoints by SRV records", () => {
  const record = (name: string, port: number, priority = 0, weight = 0) => ({ name, port, priority, weight });
  type Records = Readonly<Record<string, readonly ReturnType<typeof record>[]>>;

  function tried(records: () => Records, tls = NO_TLS) {
    const resolveSrv = async (name: string) => {
      const found = records()[name];
      if (!found) throw Object.assign(new Error("x"), { code: "ENOTFOUND" });
      return found;
    };
    const made = options(["http://ignored:1"], { discoverySrv: "example.org", tls });
    const endpoints = new Endpoints(made, resolver({ resolveSrv }));
    return async () => {
      const urls: string[] = [];
      const failure = await endpoints
        .connect(async (target) => {
          urls.push(target.endpoint.url);
          throw refusal(target);
        }, signal)
        .catch(String);
      return { urls, failure };
    };
  }

  test("those with TLS are taken, by priority and weight; others only when there are none", async () => {
    const both = {
      "_etcd-client-ssl._tcp.example.org": [record("c.example.org.", 3, 9), record("a", 1, 1, 1), record("b", 2, 1, 5)],
      "_etcd-client._tcp.example.org": [record("plain", 4)],
    };
    expect((await tried(() => both)()).urls).toEqual(["https://b:2", "https://a:1", "https://c.example.org:3"]);
    const plain = { "_etcd-client._tcp.example.org": [record("plain", 4)] };
    expect((await tried(() => plain)()).urls).toEqual(["http://plain:4"]);
  });

  test("no name server talks a client that has certificates out of TLS", async () => {
    const plain = { "_etcd-client._tcp.example.org": [record("plain", 4)] };
    const { urls, failure } = await tried(() => plain, { ...NO_TLS, caFile: "/ca.pem" })();
    expect(urls).toEqual([]);
    expect(failure).toContain(
      "cannot find etcd by SRV records of example.org: _etcd-client-ssl._tcp.example.org: ENOTFOUND; check --etcd-discovery-srv",
    );
  });

  test("they are asked for anew each time; those of before serve while there is no answer", async () => {
    let records: Records = { "_etcd-client-ssl._tcp.example.org": [record("a", 1)] };
    const connect = tried(() => records);
    await connect();
    records = { "_etcd-client-ssl._tcp.example.org": [record("b", 2)] };
    expect((await connect()).urls).toEqual(["https://b:2"]);
    records = {};
    expect((await connect()).urls).toEqual(["https://b:2"]);
  });
});
