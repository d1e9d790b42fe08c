import { expect, test } from "bun:test";
import { NodeReads } from "./node_reads.ts";

/** Reads that last until the test lets them end. */
function scripted() {
  const begun: string[] = [];
  const ends = new Map<string, () => void>();
  const reads = new NodeReads((name) => {
    begun.push(name);
    return new Promise((resolve) => ends.set(name, resolve));
  });
  const end = async (name: string) => {
    ends.get(name)?.();
    await Bun.sleep(0);
  };
  return { reads, begun, end };
}

const names = Array.from({ length: 10 }, (_, i) => `node${i}`);

test("eight are read at once, the others in their order", async () => {
  const { reads, begun, end } = scripted();
  for (const name of names) reads.want(name);
  expect(begun).toEqual(names.slice(0, 8));
  await end("node5");
  expect(begun).toEqual(names.slice(0, 9));
  await end("node0");
  expect(begun).toEqual(names);
});

test("one that is asked for again while it waits is read once, while it is read once more, and never twice at once", async () => {
  const { reads, begun, end } = scripted();
  for (const name of [...names, "node9", "node3", "node3"]) reads.want(name);
  await end("node1");
  expect(begun).toEqual(names.slice(0, 9));
  await end("node3");
  await end("node2");
  expect(begun).toEqual([...names, "node3"]);
});

test("what is no failure of the server is told", async () => {
  const reads = new NodeReads(() => Promise.reject(new TypeError("a fault")));
  reads.want("node1");
  expect(await reads.failed.catch(String)).toBe("TypeError: a fault");
});
