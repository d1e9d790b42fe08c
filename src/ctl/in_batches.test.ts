import { expect, test } from "bun:test";
import { inBatches } from "./in_batches.ts";

test("inBatches: all results in order, never more than the limit at a time", async () => {
  let running = 0;
  let most = 0;
  const results = await inBatches([5, 1, 4, 2, 3], 2, async (n) => {
    most = Math.max(most, ++running);
    await Bun.sleep(n);
    running--;
    return n * 10;
  });
  expect([results, most]).toEqual([[50, 10, 40, 20, 30], 2]);
});

test("inBatches: the first failure is thrown when what runs has ended, and nothing more is begun", async () => {
  const begun: number[] = [];
  let ended = 0;
  const failing = inBatches([1, 2, 3, 4], 2, async (n) => {
    begun.push(n);
    await Bun.sleep(n);
    ended++;
    if (n === 1) throw new Error("one");
  });
  await expect(failing).rejects.toThrow("one");
  expect([begun, ended]).toEqual([[1, 2], 2]);
});

test("inBatches: nothing to do", async () => {
  expect(await inBatches([], 4, async () => 1)).toEqual([]);
});
