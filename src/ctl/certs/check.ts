// `certs check`: what certificates say and whether they can go on to be used, for people and for cron.

import { createPrivateKey, type X509Certificate } from "node:crypto";
import { existsSync, readFileSync, statSync } from "node:fs";
import { ConfigError } from "../../config/fault.ts";
import { type Outputs, UsageError } from "../session.ts";
import { line, paint, tableLines } from "../terminal.ts";
import { certificatesIn, type Description, describe, descriptionRows } from "./description.ts";
import { DAY_MS } from "./expiry.ts";
import { pathsOf, readText } from "./files.ts";
import { type Circumstances, judge, type Verdict } from "./verdict.ts";

export interface CheckFlags {
  readonly ca?: string;
  readonly warnDays: number;
  readonly json: boolean;
}

interface Checked extends Verdict {
  readonly file: string;
  /** Undefined when the file could not be read. */
  readonly description: Description | undefined;
}

export function check(files: readonly string[], flags: CheckFlags, session: Outputs, now: Date): number {
  const authorities = flags.ca === undefined ? undefined : authoritiesIn(flags.ca);
  const circumstances = { now, warnMs: flags.warnDays * DAY_MS, ...(authorities && { authorities }) };
  // Files are often named by *.pem, and keys have their say beside their certificates.
  const named = files.filter((file) => !file.endsWith("-key.pem"));
  if (named.length === 0) throw new UsageError("only keys are named; want certificates");
  const checked = named.flatMap((file) => checkFile(file, circumstances));
  if (flags.json) {
    const results = checked.map(({ description, ...verdict }) => ({ ...verdict, ...description }));
    line(session.out, JSON.stringify(results, undefined, 2));
  } else {
    for (const one of checked) print(one, session);
  }
  return checked.some(({ faults }) => faults.length > 0) ? 1 : 0;
}

function authoritiesIn(ca: string): readonly X509Certificate[] {
  const authorities = certificatesOf("--ca", ca);
  if (authorities.length > 0) return authorities;
  throw new ConfigError([
    { where: "--ca", got: `${ca}, which holds no certificate`, want: "an authority's certificate" },
  ]);
}

function certificatesOf(flag: string, path: string): readonly X509Certificate[] {
  const text = readText(flag, path);
  try {
    return certificatesIn(text);
  } catch (error) {
    const got = `${path}: ${error instanceof Error ? error.message : String(error)}`;
    throw new ConfigError([{ where: flag, got, want: "certificates in PEM form" }]);
  }
}

function checkFile(file: string, circumstances: Circumstances): readonly Checked[] {
  const unread = (fault: string): readonly Checked[] => [
    { file, description: undefined, signed: undefined, daysLeft: 0, faults: [fault] },
  ];
  try {
    const certificates = certificatesOf("certificate", file);
    if (certificates.length === 0) return unread("it holds no certificate");
    return certificates.map((certificate, i) => {
      // The first is that of the key, others lead to an authority.
      const verdict = judge(certificate, i === 0 ? { ...circumstances, ...keyBeside(file) } : circumstances);
      return { file, description: describe(certificate), ...verdict };
    });
  } catch (error) {
    return unread(error instanceof Error ? error.message : String(error));
  }
}

/** The key, if it is there and this user may read it: a check need not run as root. */
function keyBeside(file: string): Pick<Circumstances, "key"> {
  const path = pathsOf(file).key;
  if (!file.endsWith(".pem") || !existsSync(path)) return {};
  let pem: string;
  try {
    pem = readFileSync(path, "utf8");
  } catch {
    return {};
  }
  return { key: { privateKey: createPrivateKey(pem), mode: statSync(path).mode } };
}

function print({ file, description, signed, daysLeft, faults }: Checked, { out }: Outputs): void {
  const good = `good for ${daysLeft} days`;
  line(out, `${file}: ${faults.length > 0 ? paint(out, "red", faults.join("; ")) : paint(out, "green", good)}`);
  if (!description) return;
  const word = signed === undefined ? "not asked: no --ca" : signed ? "by the authority of --ca" : "no";
  for (const row of tableLines([...descriptionRows(description), ["signed", word]])) line(out, `  ${row}`);
}
