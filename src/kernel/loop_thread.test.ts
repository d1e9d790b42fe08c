import { expect, test } from "bun:test";
import { threadId, threadState } from "../sys/thread.ts";
import { endThread, LOOKS, Pulse } from "./loop_thread.ts";

test("Pulse: a thread hangs when so many looks have seen no turn, however long there was none between two looks", () => {
  let turns = -3;
  const pulse = new Pulse(() => turns);
  const looks = (count: number) => Array.from({ length: count }, () => pulse.look());
  expect(looks(LOOKS)).toEqual([...Array<boolean>(LOOKS - 1).fill(false), true]);
  turns++;
  expect(looks(LOOKS - 1)).not.toContain(true);
  turns = -(2 ** 31); // the count has begun again
  expect(looks(LOOKS)).toEqual([...Array<boolean>(LOOKS).fill(false)]);
  expect(looks(1)).toEqual([true]);
});

test("endThread: a thread that is gone has ended; one that is there and does not end has not", async () => {
  let told = 0;
  const worker = { terminate: () => void told++ };
  expect(threadState(threadId())).toBe("R");
  expect(await endThread(worker, 2 ** 22 + 1, 0)).toBe(true);
  expect(told).toBe(0);
  expect(await endThread(worker, threadId(), 50)).toBe(false);
  expect(told).toBe(1);
});
