// A daemon starts once and rests for months: after the start, what only the start needed is given back.

import { dropStartupCode } from "../sys/memory.ts";

/** After the first lease set is programmed, also with 50,000 peers. */
const AFTER_MS = 5_000;

/** Some seconds from now, once; disposing of it before that calls it off. */
export function comeToRest(): Disposable {
  const timer = setTimeout(() => {
    Bun.gc(true);
    try {
      dropStartupCode();
    } catch {
      // a kernel or sandbox that refuses: nothing but memory depends on it
    }
  }, AFTER_MS);
  timer.unref();
  return { [Symbol.dispose]: () => clearTimeout(timer) };
}
