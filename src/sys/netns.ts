// Acting in another network namespace (namespaces(7), setns(2)). A namespace belongs to a thread, and what is opened in
// it stays in it: a socket made inside goes on working there after the thread is back. So the thread goes in, calls one
// synchronous function, and comes back, with no await between.

import { CLONE_NEWNET, close, O_RDONLY, open, setns } from "./libc.ts";

const OWN_NAMESPACE = "/proc/thread-self/ns/net";

/**
 * Calls `act` with this thread inside the network namespace at `path` ("/var/run/netns/NAME", "/proc/PID/ns/net").
 * `act` must not be async. Throws SysError when the namespace cannot be entered.
 */
export function inNamespace<T>(path: string, act: () => T): T {
  const own = open(OWN_NAMESPACE, O_RDONLY);
  try {
    const other = open(path, O_RDONLY);
    try {
      setns(other, CLONE_NEWNET, path);
    } finally {
      close(other);
    }
    try {
      return act();
    } finally {
      setns(own, CLONE_NEWNET, OWN_NAMESPACE);
    }
  } finally {
    close(own);
  }
}

/** Calls `act` with an open file of the namespace at `path`, as IFLA_NET_NS_FD wants, and closes it. */
export function withNamespaceFd<T>(path: string, act: (namespaceFd: number) => T): T {
  const fd = open(path, O_RDONLY);
  try {
    return act(fd);
  } finally {
    close(fd);
  }
}
