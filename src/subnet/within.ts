// Waiting for whatever comes first: a result, or a point in time.

/** What `promise` resolves to, or "due" after `ms` milliseconds; undefined waits for ever. */
export async function within<T>(ms: number | undefined, promise: Promise<T>): Promise<T | "due"> {
  if (ms === undefined) return promise;
  let timer: ReturnType<typeof setTimeout> | undefined;
  // setTimeout takes at most 2^31 − 1 ms; waking early is harmless, the caller looks at the clock.
  const due = new Promise<"due">((resolve) => {
    timer = setTimeout(resolve, Math.min(Math.max(ms, 0), 2 ** 31 - 1), "due");
  });
  try {
    return await Promise.race([promise, due]);
  } finally {
    clearTimeout(timer);
  }
}
