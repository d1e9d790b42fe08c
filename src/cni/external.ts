// A plugin that is a program of CNI_PATH, called as the specification's library calls one: verb and attachment in the environment, configuration on standard input,
// result or error on standard output. A program that lacks the version asked for is called in the newest that it knows.
//
// The call is synchronous: there is nothing to do meanwhile, and it saves two turns of the event loop.

import { statSync } from "node:fs";
import { join } from "node:path";
import { isJsonObject } from "../config/json_fields.ts";
import type { Call, Verb } from "./call.ts";
import { CNI_CODE, CniError } from "./cni_error.ts";
import type { PluginConf } from "./plugin.ts";
import { EMPTY_RESULT, type Result } from "./result.ts";
import { parseResult, resultObject } from "./result_version.ts";
import { allowsVerb, newestUpTo, type Version, versionNamed } from "./version.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

/** A program file that is being replaced cannot be started (ETXTBSY): how often it is tried, and how long apart. */
const BUSY = { attempts: 20, pauseMs: 50 };

/** Path of the program for `type`. */
export function findPlugin(type: string, path: readonly string[]): string {
  if (type === "" || type.includes("/")) {
    throw new CniError(CNI_CODE.invalidConfig, `invalid plugin name: got ${JSON.stringify(type)}, want a file's name`);
  }
  const file = path.map((directory) => join(directory, type)).find(isFile);
  if (file !== undefined) return file;
  throw new CniError(
    CNI_CODE.internal,
    `failed to find plugin ${JSON.stringify(type)} in path [${path.join(" ")}]; install it there`,
  );
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true;
}

/** Calls `verb` of the plugin `type`. What ADD answers; an empty result for the other verbs, and for a verb that the plugin's version has not. */
export function callExternal(type: string, conf: PluginConf, call: Call, environment: Environment): Result {
  const program = findPlugin(type, call.path);
  const asked = versionNamed(conf.cniVersion);
  const newest = () => newestOfAll([type, ...addressPlugin(conf)], asked, call, environment);
  // A verb that a plugin does not know gets whatever answer: it is asked before. All others know what they cannot do, and most can.
  if (call.verb === "STATUS" || call.verb === "GC") return callInVersion(newest(), program, conf, call, environment);
  try {
    return callInVersion(asked, program, conf, call, environment);
  } catch (error) {
    if (!(error instanceof CniError) || error.code !== CNI_CODE.incompatibleVersion) throw error;
    const version = newest();
    if (version === undefined || version === asked) throw error;
    return callInVersion(version, program, conf, call, environment);
  }
}

/** The plugin that the called one calls in turn: it may be the one that lacks the version. */
function addressPlugin({ raw }: PluginConf): string[] {
  const { type } = isJsonObject(raw.ipam) ? raw.ipam : {};
  return typeof type === "string" && type !== "" ? [type] : [];
}

/** The newest version, up to `asked`, that every one of `types` knows. */
function newestOfAll(
  types: readonly string[],
  asked: Version,
  call: Call,
  environment: Environment,
): Version | undefined {
  let newest: Version | undefined = asked;
  for (const type of types) {
    if (newest === undefined) return undefined;
    const stdin = JSON.stringify({ cniVersion: newest });
    const answer = run(findPlugin(type, call.path), stdin, { ...environment, CNI_COMMAND: "VERSION" });
    const versions = isJsonObject(answer) ? answer.supportedVersions : undefined;
    newest = Array.isArray(versions) ? newestUpTo(newest, versions) : newestUpTo(newest, ["0.1.0"]);
  }
  return newest;
}

/** Nothing, when that version has no such verb. */
function callInVersion(
  version: Version | undefined,
  program: string,
  conf: PluginConf,
  call: Call,
  environment: Environment,
): Result {
  if (version === undefined || !allowsVerb(version, call.verb)) return EMPTY_RESULT;
  const stated = typeof conf.raw.cniVersion === "string" && conf.raw.cniVersion === version;
  // A configuration that came without a version goes on without one.
  const unstated = conf.raw.cniVersion === undefined && version === conf.cniVersion;
  const raw = {
    ...conf.raw,
    ...(!stated && !unstated && { cniVersion: version }),
    ...(conf.prevResult && { prevResult: resultObject(conf.prevResult, version) }),
  };
  const answer = run(program, JSON.stringify(raw), { ...environment, ...variables(call) });
  // A plugin need not have a result for ADD when it is one that only changes things.
  return call.verb === "ADD" && answer !== undefined ? parseResult(answer, `result of ${program}`) : EMPTY_RESULT;
}

function variables({ verb, containerId, netns, ifname, args, path }: Call): Environment {
  const perAttachment = verb !== "STATUS" && verb !== "GC" && verb !== "VERSION";
  return {
    CNI_COMMAND: verb satisfies Verb,
    CNI_PATH: path.join(":"),
    CNI_ARGS: args === "" ? undefined : args,
    CNI_CONTAINERID: perAttachment ? containerId : undefined,
    CNI_NETNS: perAttachment ? netns : undefined,
    CNI_IFNAME: perAttachment ? ifname : undefined,
  };
}

/** The JSON that `program` prints. Throws the error that it answered, as it stands. */
function run(program: string, stdin: string, environment: Environment): unknown {
  const { exitCode, signalCode, stdout, stderr } = spawn(program, stdin, environment);
  const said = stderr.toString();
  const text = stdout.toString().trim();
  if (exitCode === 0) {
    // What a plugin says there is for whoever reads the runtime's log.
    if (said !== "") process.stderr.write(said);
    return text === "" ? undefined : parsed(text, program);
  }
  const how = signalCode ? `ended by ${signalCode}` : `exit ${exitCode}`;
  const answer = errorIn(text);
  if (answer) throw answer;
  const words = [text, said.trim()].filter((part) => part !== "").join("; ");
  throw new CniError(
    CNI_CODE.internal,
    `${program} failed: ${how}${words === "" ? ", without a word" : `: ${words.slice(0, 2_000)}`}`,
  );
}

function spawn(program: string, stdin: string, environment: Environment) {
  const env = Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== undefined));
  for (let attempt = 1; ; attempt++) {
    try {
      return Bun.spawnSync([program], {
        env: env as Record<string, string>,
        stdin: Buffer.from(stdin),
        stdout: "pipe",
        stderr: "pipe",
      });
    } catch (error) {
      const code = error instanceof Error && "code" in error ? error.code : undefined;
      if (code !== "ETXTBSY" || attempt === BUSY.attempts) {
        const words = error instanceof Error ? error.message : String(error);
        throw new CniError(CNI_CODE.internal, `cannot run ${program}: ${words}`);
      }
      Bun.sleepSync(BUSY.pauseMs);
    }
  }
}

function parsed(text: string, program: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new CniError(CNI_CODE.decode, `cannot read the answer of ${program}: no JSON: ${text.slice(0, 200)}`);
  }
}

function errorIn(text: string): CniError | undefined {
  try {
    const json: unknown = JSON.parse(text);
    if (!isJsonObject(json) || typeof json.msg !== "string") return undefined;
    const code = typeof json.code === "number" && json.code > 0 ? json.code : CNI_CODE.internal;
    return new CniError(code, json.msg, typeof json.details === "string" ? json.details : undefined);
  } catch {
    return undefined;
  }
}
