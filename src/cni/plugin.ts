// A CNI plugin, whether built in (flannel, bridge, host-local, portmap, loopback) or a program of CNI_PATH: the verbs of the specification as functions.
// Built-in ones are called by each other without a process between.

import type { Call } from "./call.ts";
import type { Result } from "./result.ts";

/** A plugin's configuration as it came on standard input, with what every plugin has. */
export interface PluginConf {
  /** One of the versions that this program knows (version.ts). */
  readonly cniVersion: string;
  readonly name: string;
  readonly type: string;
  /** The result so far, of the plugins before this one in a chain; absent for the first one. */
  readonly prevResult: Result | undefined;
  /** Everything, as parsed from JSON; each plugin reads its own keys. */
  readonly raw: Readonly<Record<string, unknown>>;
}

/** Calls another plugin by its type, as `ipam.type` or a delegate names it: a built-in one, or a program of CNI_PATH. */
export interface Delegate {
  add(type: string, conf: PluginConf): Promise<Result>;
  del(type: string, conf: PluginConf): Promise<void>;
  check(type: string, conf: PluginConf): Promise<void>;
  status(type: string, conf: PluginConf): Promise<void>;
  gc(type: string, conf: PluginConf): Promise<void>;
  /** The same with something changed: for another attachment than the runtime named, or only with programs of CNI_PATH. */
  with(options: DelegateOptions): Delegate;
}

export interface DelegateOptions {
  readonly call?: Call;
  /** Whether a built-in plugin serves where it can; so it is at first. */
  readonly builtIn?: boolean;
}

/** Attachments that are still there, as GC gives them. */
export interface Attachment {
  readonly containerId: string;
  readonly ifname: string;
}

export interface Request {
  readonly call: Call;
  readonly conf: PluginConf;
  readonly delegate: Delegate;
}

/** Every verb throws CniError. */
export interface Plugin {
  readonly type: string;
  /** What ADD answers: with the previous result in it, for a plugin that is chained. */
  add(request: Request): Promise<Result>;
  /** Idempotent: what is gone already is no error. */
  del(request: Request): Promise<void>;
  /** Throws when what `conf.prevResult` says is not so. */
  check(request: Request): Promise<void>;
  /** Throws CNI_CODE.notAvailable when ADD could not be served now; a plugin that can always serve resolves. */
  status(request: Request): Promise<void>;
  /** Removes what belongs to none of `valid`; goes on after an error and throws the first one at the end. */
  gc(request: Request, valid: readonly Attachment[]): Promise<void>;
}
