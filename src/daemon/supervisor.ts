// What systemd is told, sd_notify(3): READY=1 once, when subnet.env is written; a line for `systemctl status` whenever there is something else to say; STOPPING=1.

import type { Status } from "../config/status.ts";
import { statusText } from "../config/status_text.ts";
import { notifySystemd } from "../sys/notify.ts";

/** To be called with each status; `notify` reaches the supervisor, if there is one. Faults go to `onError`, the first of a row only. */
export function supervisor(
  onError: (error: unknown) => void,
  notify: (state: string) => unknown = notifySystemd,
): (status: Status) => void {
  let told = "";
  let ready = false;
  let failed = false;
  return (status) => {
    const lines: string[] = [];
    if (status.phase === "ready" && !ready) lines.push("READY=1");
    if (status.phase === "stopping") lines.push("STOPPING=1");
    const text = statusText(status);
    if (text !== told) lines.push(`STATUS=${text}`);
    if (lines.length === 0) return;
    try {
      notify(lines.join("\n"));
      ready ||= status.phase === "ready";
      told = text;
      failed = false;
    } catch (error) {
      if (!failed) onError(error);
      failed = true;
    }
  };
}
