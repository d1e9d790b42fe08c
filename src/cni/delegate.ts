// Calls one plugin for another: a built-in one where there is one that knows the configuration's keys, a program of CNI_PATH otherwise.

import { builtInNamed } from "./builtin.ts";
import type { Call, Verb } from "./call.ts";
import type { Environment } from "./external.ts";
import { validAttachments } from "./net_conf.ts";
import type { Delegate, Plugin, PluginConf } from "./plugin.ts";
import { EMPTY_RESULT, type Result } from "./result.ts";

export interface DelegateContext {
  readonly call: Call;
  /** What a program inherits, besides what the call says. */
  readonly environment: Environment;
  readonly builtIn: boolean;
}

export function openDelegate(context: DelegateContext): Delegate {
  const nothing = async (verb: Verb, type: string, conf: PluginConf): Promise<void> => {
    await delegated(verb, type, conf, context);
  };
  return {
    add: (type, conf) => delegated("ADD", type, conf, context),
    del: (type, conf) => nothing("DEL", type, conf),
    check: (type, conf) => nothing("CHECK", type, conf),
    status: (type, conf) => nothing("STATUS", type, conf),
    gc: (type, conf) => nothing("GC", type, conf),
    with: (options) => openDelegate({ ...context, ...options }),
  };
}

async function delegated(verb: Verb, type: string, conf: PluginConf, context: DelegateContext): Promise<Result> {
  const call = { ...context.call, verb };
  const load = context.builtIn ? builtInNamed(type) : undefined;
  const builtIn = await load?.();
  if (builtIn?.knowsKeys(conf.raw)) {
    return await perform(builtIn.plugin, { call, conf, delegate: openDelegate({ ...context, call }) });
  }
  const { callExternal } = await import("./external.ts");
  return callExternal(type, conf, call, context.environment);
}

/** One verb of a plugin; an empty result for those that have none. */
export async function perform(
  plugin: Plugin,
  request: { readonly call: Call; readonly conf: PluginConf; readonly delegate: Delegate },
): Promise<Result> {
  switch (request.call.verb) {
    case "ADD":
      return await plugin.add(request);
    case "DEL":
      await plugin.del(request);
      break;
    case "CHECK":
      await plugin.check(request);
      break;
    case "STATUS":
      await plugin.status(request);
      break;
    case "GC":
      await plugin.gc(request, validAttachments(request.conf.raw));
      break;
    case "VERSION":
      break;
  }
  return EMPTY_RESULT;
}
