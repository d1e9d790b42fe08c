// Tells systemd how this service is: sd_notify(3), one datagram to the socket that NOTIFY_SOCKET names. A name that
// starts with "@" is in Linux' abstract namespace, where the @ stands for a NUL and the address has no NUL at its end
// (unix(7)).

import { AF_UNIX, close, MSG_NOSIGNAL, SOCK_CLOEXEC, SOCK_DGRAM, sendto, socket } from "./libc.ts";

/**
 * `state`: lines such as "READY=1" and "STATUS=text". False, and nothing done, when no supervisor asked; throws
 * SysError when it cannot be reached.
 */
export function notifySystemd(state: string, socketPath = process.env.NOTIFY_SOCKET): boolean {
  if (!socketPath) return false;
  const fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, socketPath);
  try {
    sendto(fd, new TextEncoder().encode(state), MSG_NOSIGNAL, unixAddress(socketPath), socketPath);
  } finally {
    close(fd);
  }
  return true;
}

/** struct sockaddr_un: u16 family, then the path with its NUL, or a NUL and the abstract name. */
function unixAddress(path: string): Uint8Array {
  const abstract = path.startsWith("@");
  const name = new TextEncoder().encode(abstract ? `\0${path.slice(1)}` : `${path}\0`);
  const address = new Uint8Array(2 + name.length);
  address[0] = AF_UNIX;
  address.set(name, 2);
  return address;
}
