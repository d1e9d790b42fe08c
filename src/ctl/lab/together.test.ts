import { describe, expect, test } from "bun:test";
import { setTimeout as sleep } from "node:timers/promises";
import { together } from "./together.ts";

function caught(work: Promise<void>): Promise<unknown> {
  return work.then(
    () => "nothing",
    (error: unknown) => error,
  );
}

describe("together", () => {
  test("together: the first that fails stops the others, and is waited for by all", async () => {
    const fault = new Error("n1 is broken");
    let ended = false;
    const failing = async () => {
      throw fault;
    };
    const waiting = async (signal: AbortSignal) => {
      try {
        await sleep(60_000, undefined, { signal });
      } finally {
        await sleep(5);
        ended = true;
      }
    };
    expect(await caught(together([waiting, failing], new AbortController().signal))).toBe(fault);
    expect(ended).toBe(true);
  });

  test("together: throws the reason of an abort from outside", async () => {
    const outside = new AbortController();
    const waiting = (signal: AbortSignal) => sleep<void>(60_000, undefined, { signal });
    const work = caught(together([waiting, waiting], outside.signal));
    const reason = new Error("enough");
    outside.abort(reason);
    expect(await work).toBe(reason);
  });

  test("together: ends with the last task", async () => {
    const done: number[] = [];
    const after = (ms: number) => async () => {
      await sleep(ms);
      done.push(ms);
    };
    await together([after(10), after(1)], new AbortController().signal);
    expect(done).toEqual([1, 10]);
  });
});
