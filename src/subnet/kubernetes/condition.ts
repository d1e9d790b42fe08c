// The condition NetworkUnavailable of a Node (core/v1 NodeCondition), as a strategic merge patch of its status: conditions are merged by type, so others stay.
// Reason and message of the good state are upstream's, which scripts look for. Pure.

export function readyCondition(now: Date): object {
  return conditionPatch(now, "False", "FlannelIsUp", "Flannel is running on this node");
}

/** The node has no network yet, and `cause` says why. */
export function waitingCondition(now: Date, cause: string): object {
  return conditionPatch(now, "True", "FlannelIsWaiting", cause);
}

function conditionPatch(now: Date, status: "True" | "False", reason: string, message: string): object {
  // RFC 3339 to the second, as the API server keeps times.
  const time = now.toISOString().replace(/\.\d+Z$/, "Z");
  const condition = { type: "NetworkUnavailable", status, reason, message };
  return { status: { conditions: [{ ...condition, lastHeartbeatTime: time, lastTransitionTime: time }] } };
}
