// The supervisor's watchdog, sd_watchdog_enabled(3): a daemon that does not say WATCHDOG=1 within WATCHDOG_USEC is killed and started anew. It is said from
// the event loop, so that a loop that stands still is noticed; half the time is left for one that is only busy. The kernel keeps forwarding meanwhile.

import { notifySystemd } from "../sys/notify.ts";

type Environment = Record<string, string | undefined>;

/** What a timer can wait; longer ones would fire at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** How long the supervisor waits for a sign of this process; undefined when it waits for none, or for another process's. */
function watchdogTimeoutMs({ WATCHDOG_USEC, WATCHDOG_PID }: Environment, pid: number): number | undefined {
  if (WATCHDOG_USEC === undefined || !/^[1-9][0-9]*$/.test(WATCHDOG_USEC)) return undefined;
  return WATCHDOG_PID === undefined || WATCHDOG_PID === String(pid) ? Number(WATCHDOG_USEC) / 1000 : undefined;
}

/**
 * Says WATCHDOG=1 now and at every half of the time that the supervisor waits, until disposed of; does not keep the process alive. Takes the two variables out
 * of `environment`, since programs that are started later are not watched. `onError` is told when the supervisor cannot be reached, once until it can be.
 */
export function startWatchdog(environment: Environment, pid: number, onError: (error: unknown) => void): Disposable {
  const timeoutMs = watchdogTimeoutMs(environment, pid);
  delete environment.WATCHDOG_USEC;
  delete environment.WATCHDOG_PID;
  const { NOTIFY_SOCKET } = environment;
  if (timeoutMs === undefined || !NOTIFY_SOCKET) return { [Symbol.dispose]() {} };
  let failed = false;
  const sign = () => {
    try {
      notifySystemd("WATCHDOG=1", NOTIFY_SOCKET);
      failed = false;
    } catch (error) {
      if (!failed) onError(error);
      failed = true;
    }
  };
  sign();
  const timer = setInterval(sign, Math.min(MAX_TIMER_MS, Math.max(1, timeoutMs / 2)));
  timer.unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
