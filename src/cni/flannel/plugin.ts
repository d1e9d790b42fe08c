// The CNI plugin `flannel`: it turns the node's subnet into the configuration of the plugin that makes a pod's interface, calls that, and remembers with what,
// so that the pod can be removed by the same (upstream: github.com/flannel-io/cni-plugin). Every verb of the specification does what it says.

import { CNI_CODE, CniError, cniErrorOf } from "../cni_error.ts";
import type { Attachment, Delegate, Plugin, Request } from "../plugin.ts";
import type { Result, ResultRoute } from "../result.ts";
import { type FlannelConf, readFlannelConf } from "./conf.ts";
import { delegateConf, delegateRaw } from "./delegate_conf.ts";
import { findState, removeState, removeUnfinished, type State, writeState } from "./state.ts";
import { readNodeSubnet } from "./subnet.ts";

export const flannel: Plugin = {
  type: "flannel",

  async add(request: Request): Promise<Result> {
    const { call, conf } = request;
    const own = readFlannelConf(conf);
    const raw = delegateRaw(own, conf, await readNodeSubnet(own.subnetFile));
    // Before the delegate: whatever it has done when it fails or is killed, DEL finds.
    writeState(own.dataDir, call, raw);
    try {
      return await delegateOf(request, own).add(String(raw.type), delegateConf(raw));
    } catch (error) {
      throw withAdvice(cniErrorOf(error));
    }
  },

  async del(request: Request): Promise<void> {
    const { call, conf } = request;
    const own = readFlannelConf(conf);
    removeUnfinished(own.dataDir, call);
    const state = findState(own.dataDir, call);
    // Gone already, or never there: a runtime asks more than once.
    if (!state) return;
    if (state.raw) {
      await delegateOf(request, own).del(String(state.raw.type), delegateConf(state.raw, conf.prevResult));
    } else {
      await deleteWithoutState(request, own, state);
    }
    // Only now: when the delegate failed, the next DEL tries again, and the address is not lost.
    removeState(state);
  },

  async check(request: Request): Promise<void> {
    const { call, conf } = request;
    const own = readFlannelConf(conf);
    if (!conf.prevResult) throw new CniError(CNI_CODE.invalidConfig, "Required prevResult missing");
    const raw = knownState(own, call);
    // As it was added, in the version that is asked in: an older one may have no CHECK.
    const current = { ...raw, cniVersion: conf.cniVersion };
    await delegateOf(request, own).check(String(raw.type), delegateConf(current, withGateways(conf.prevResult)));
  },

  async status(request: Request): Promise<void> {
    const own = readFlannelConf(request.conf);
    try {
      const raw = delegateRaw(own, request.conf, await readNodeSubnet(own.subnetFile));
      const { daemonOf, daemonText } = await import("./daemon.ts");
      const daemon = daemonOf(own.subnetFile);
      // Upstream's writes no status: its subnet.env has to do.
      if (daemon.kind === "gone") throw new CniError(CNI_CODE.notAvailable, daemonText(daemon));
      await delegateOf(request, own).status(String(raw.type), delegateConf(raw));
    } catch (error) {
      throw asNotAvailable(cniErrorOf(error));
    }
  },

  async gc(request: Request, valid: readonly Attachment[]): Promise<void> {
    const own = readFlannelConf(request.conf);
    const { collectGarbage } = await import("./gc.ts");
    await collectGarbage({ ...request, delegate: delegateOf(request, own) }, own, valid);
  },
};

function delegateOf({ delegate }: Request, { builtIn }: FlannelConf): Delegate {
  return builtIn ? delegate : delegate.with({ builtIn });
}

/**
 * A route without a gateway was made through that of the address; the reference's CHECK looks for one that has none, and finds none. So it is told.
 */
function withGateways(result: Result): Result {
  const isV6 = (text: string) => text.includes(":");
  const gatewayFor = (dst: string) => result.ips.find(({ address }) => isV6(address) === isV6(dst))?.gateway;
  const routes = result.routes.map((route): ResultRoute => {
    const gw = route.gw ?? gatewayFor(route.dst);
    return gw === undefined ? route : { ...route, gw };
  });
  return { ...result, routes };
}

function knownState({ dataDir }: FlannelConf, attachment: Attachment) {
  const { containerId, ifname } = attachment;
  const state = findState(dataDir, attachment);
  if (state?.raw) return state.raw;
  const what = state ? `${state.path} holds no configuration` : `nothing in ${dataDir}`;
  throw new CniError(CNI_CODE.unknownContainer, `cannot check ${ifname} of ${containerId}: ${what}; add it again`);
}

/**
 * DEL with a state that nobody can read: frees by the configuration that ADD would use now, as far as that can be had. It must not fail: the next one would
 * know no more.
 */
async function deleteWithoutState(request: Request, own: FlannelConf, state: State): Promise<void> {
  let outcome = "what it stood for was freed by the present configuration";
  try {
    const raw = delegateRaw(own, request.conf, await readNodeSubnet(own.subnetFile));
    await delegateOf(request, own).del(String(raw.type), delegateConf(raw, request.conf.prevResult));
  } catch (error) {
    outcome = `its address may be left, "flannelctl ipam check" shows it: ${cniErrorOf(error).message}`;
  }
  process.stderr.write(`flannel: ${state.path} holds no configuration and was removed; ${outcome}\n`);
}

/** What the reference bridge says when cni0 is from before the node got another subnet, with what to do. */
function withAdvice(error: CniError): CniError {
  if (!/already has an IP address different from/.test(error.message)) return error;
  const advice =
    "the bridge is from an earlier subnet of this node: when no pod uses it, remove it (ip link delete), and the next pod makes it anew";
  return new CniError(error.code, `${error.message}; ${advice}`, error.details, { cause: error });
}

function asNotAvailable(error: CniError): CniError {
  const { notAvailable, limited } = CNI_CODE;
  if (error.code === notAvailable || error.code === limited) return error;
  return new CniError(notAvailable, error.message, error.details, { cause: error });
}
