// Waiting for a state, with the test runner's own picture of the difference when it does not come about.

import { expect } from "bun:test";

const TIMEOUT_MS = 10_000;

/** Polls `look` until it gives `expected`, which a test then need not say again. */
export async function becomes(look: () => unknown, expected: unknown, timeoutMs = TIMEOUT_MS): Promise<void> {
  const end = performance.now() + timeoutMs;
  let actual = await look();
  while (!Bun.deepEquals(actual, expected) && performance.now() < end) {
    await Bun.sleep(10);
    actual = await look();
  }
  expect(actual).toEqual(expected);
}
