// How netlink goes wrong: bytes that are no message, an answer that says no, a dump that never comes to rest, and,
// above these, the sentence that a person reads.

import { EPERM, errnoName, errnoText } from "../sys/error.ts";

/**
 * Bytes that are not what linux/netlink.h and linux/rtnetlink.h say: truncated, or lengths that do not add up. All that
 * a decoder throws.
 */
export class MalformedMessage extends Error {
  constructor(what: string) {
    super(`cannot decode netlink message: ${what}`);
    this.name = "MalformedMessage";
  }
}

/**
 * The kernel's no to one request: NLMSG_ERROR, or NLMSG_DONE of a dump, with the extended acknowledgement where it gave
 * one.
 */
export interface Answer {
  /** Positive, as in errno(3). */
  readonly errno: number;
  /** NLMSGERR_ATTR_MSG: a sentence by the kernel. */
  readonly kernelMessage: string | undefined;
  /** NLMSGERR_ATTR_OFFS: which byte of the request it disliked. */
  readonly offset: number | undefined;
}

/** An Answer as it is thrown by RequestSocket, which does not know what the request was for. */
export class AnswerError extends Error implements Answer {
  readonly errno: number;
  readonly kernelMessage: string | undefined;
  readonly offset: number | undefined;

  constructor(answer: Answer) {
    super(answerText(answer));
    this.name = "AnswerError";
    this.errno = answer.errno;
    this.kernelMessage = answer.kernelMessage;
    this.offset = answer.offset;
  }
}

/** Changes went on during every attempt to dump, so no attempt said what there is at one moment. */
export class DumpInterrupted extends Error {
  constructor(attempts: number) {
    super(`cannot dump: disturbed by changes ${attempts} times running`);
    this.name = "DumpInterrupted";
  }
}

/** What could not be done to what, and the kernel's reason. */
export class NetlinkError extends Error {
  /** "add", "replace", "delete", "list" */
  readonly operation: string;
  /** In iproute2 words: "route 10.5.2.0/24 via 10.5.2.0 dev flannel.1 onlink". */
  readonly object: string;
  readonly errno: number;
  readonly errnoName: string;
  readonly kernelMessage: string | undefined;

  /** `advice`: what to do about it; EPERM brings its own. */
  constructor(operation: string, object: string, answer: Pick<Answer, "errno" | "kernelMessage">, advice?: string) {
    const todo = advice ?? (answer.errno === EPERM ? "flanneld needs CAP_NET_ADMIN" : undefined);
    super(`cannot ${operation} ${object}: ${answerText(answer)}${todo ? `; ${todo}` : ""}`);
    this.name = "NetlinkError";
    this.operation = operation;
    this.object = object;
    this.errno = answer.errno;
    this.errnoName = errnoName(answer.errno);
    this.kernelMessage = answer.kernelMessage;
  }
}

function answerText({ errno, kernelMessage }: Pick<Answer, "errno" | "kernelMessage">): string {
  return `${errnoName(errno)} (${errnoText(errno)})${kernelMessage ? `: kernel says "${kernelMessage}"` : ""}`;
}
