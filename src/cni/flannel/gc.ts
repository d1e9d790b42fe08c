// GC of the flannel type: frees what belongs to no attachment that the runtime knows. A state of this network without an attachment is deleted as DEL would have;
// then the delegate cleans up, and the plugin that gives addresses, also after a delegate that has no GC.

import { rmSync } from "node:fs";
import { basename } from "node:path";
import { isJsonObject } from "../../config/json_fields.ts";
import { type CniError, cniErrorOf } from "../cni_error.ts";
import type { Attachment, Delegate, PluginConf, Request } from "../plugin.ts";
import type { FlannelConf, Raw } from "./conf.ts";
import { delegateConf, delegateRaw, delegateRawWithoutSubnet } from "./delegate_conf.ts";
import { listStates, removeState, type State } from "./state.ts";
import { readNodeSubnet } from "./subnet.ts";

/** What a file of upstream's plugin does not say. */
const USUAL_IFNAME = "eth0";

/** Goes on after an error; throws the first one at the end. */
export async function collectGarbage(
  { call, conf, delegate }: Request,
  flannel: FlannelConf,
  valid: readonly Attachment[],
): Promise<void> {
  const errors: CniError[] = [];
  const attempt = async (act: () => Promise<void> | void) => {
    try {
      await act();
    } catch (error) {
      errors.push(cniErrorOf(error));
    }
  };
  const { states, unfinished } = listStates(flannel.dataDir);
  for (const path of unfinished) await attempt(() => rmSync(path, { force: true }));
  for (const state of states.filter((one) => isStale(one, conf.name, valid))) {
    await attempt(async () => {
      if (state.raw) {
        const { containerId, ifname } = state.attachment ?? {
          containerId: basename(state.path),
          ifname: USUAL_IFNAME,
        };
        const stale = delegate.with({ call: { ...call, verb: "DEL", containerId, ifname, netns: "" } });
        await stale.del(String(state.raw.type), delegateConf(state.raw));
      }
      removeState(state);
    });
  }
  await collectOfDelegates(delegate, conf, flannel, attempt);
  const [first] = errors;
  if (first) throw first;
}

async function collectOfDelegates(
  delegate: Delegate,
  conf: PluginConf,
  flannel: FlannelConf,
  attempt: (act: () => Promise<void>) => Promise<void>,
): Promise<void> {
  const valid = Object.fromEntries(Object.entries(conf.raw).filter(([key]) => key.startsWith("cni.dev/")));
  const raw = { ...(await rawOf(conf, flannel)), ...valid };
  await attempt(() => delegate.gc(String(raw.type), delegateConf(raw)));
  const { type } = isJsonObject(raw.ipam) ? raw.ipam : {};
  if (typeof type === "string") await attempt(() => delegate.gc(type, delegateConf(raw)));
}

async function rawOf(conf: PluginConf, flannel: FlannelConf): Promise<Raw> {
  try {
    return delegateRaw(flannel, conf, await readNodeSubnet(flannel.subnetFile));
  } catch {
    return delegateRawWithoutSubnet(flannel, conf);
  }
}

/** One of this network, of which the runtime knows nothing. What nobody can read is of no use to any network. */
function isStale({ raw, attachment, path }: State, network: string, valid: readonly Attachment[]): boolean {
  if (raw && raw.name !== network) return false;
  if (!attachment) return !valid.some(({ containerId }) => containerId === basename(path));
  return !valid.some(
    ({ containerId, ifname }) => containerId === attachment.containerId && ifname === attachment.ifname,
  );
}
