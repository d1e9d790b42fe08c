// Several things made at the same time, of which none may go on once it is known that the whole will be taken away.

/**
 * Runs all tasks at once and ends when every one has ended. The first that fails, or `signal`, tells the others to stop
 * through the signal that they get; its reason is thrown.
 */
export async function together(
  tasks: readonly ((signal: AbortSignal) => Promise<void>)[],
  signal: AbortSignal,
): Promise<void> {
  const failed = new AbortController();
  const stop = AbortSignal.any([signal, failed.signal]);
  await Promise.all(tasks.map((task) => task(stop).catch((fault: unknown) => failed.abort(fault))));
  stop.throwIfAborted();
}
