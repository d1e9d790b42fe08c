// Name servers for a container from a file in the form of resolv.conf(5), as `ipam.resolvConf` names it.

import type { ResultDns } from "../result.ts";

export function parseResolvConf(text: string): ResultDns {
  const nameservers: string[] = [];
  const search: string[] = [];
  const options: string[] = [];
  let domain: string | undefined;
  for (const line of text.split("\n")) {
    if (/^[#;]/.test(line)) continue;
    const [key, ...values] = line.trim().split(/\s+/);
    const first = values[0];
    if (first === undefined) continue;
    if (key === "nameserver") nameservers.push(first);
    else if (key === "domain") domain = first;
    else if (key === "search") search.push(...values);
    else if (key === "options") options.push(...values);
  }
  return {
    ...(nameservers.length > 0 && { nameservers }),
    ...(domain !== undefined && { domain }),
    ...(search.length > 0 && { search }),
    ...(options.length > 0 && { options }),
  };
}
