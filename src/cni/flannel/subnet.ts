// The node's subnet, from the file that flanneld writes. Where there is none, the pod has to wait: the error is one that a runtime tries again after, and it says
// what flanneld is waiting for.

import { parseSubnetEnv } from "../../config/subnet_env.ts";
import { FAMILIES } from "../../ip/family.ts";
import type { Prefix } from "../../ip/prefix.ts";
import { errnoText, SysError } from "../../sys/error.ts";
import { readText } from "../../sys/file.ts";
import { CNI_CODE, CniError } from "../cni_error.ts";

export interface NodeSubnet {
  /** Of both families, IPv4 first; each is a route of the pod. */
  readonly networks: readonly Prefix[];
  /** One of a family at most, without host bits. */
  readonly subnets: readonly Prefix[];
  /** Bytes. */
  readonly mtu: number;
  readonly ipMasq: boolean;
}

/** Throws CniError "tryAgain" that says why there is no subnet. */
export async function readNodeSubnet(file: string): Promise<NodeSubnet> {
  let text: string;
  try {
    text = readText(file);
  } catch (error) {
    throw await notLoaded(`open ${file}: ${words(error)}`, file);
  }
  const { networks, subnets, mtu, ipMasq, problems } = parseSubnetEnv(text);
  const all = (of: typeof networks) => FAMILIES.flatMap((family) => of[family] ?? []);
  const ambiguous = FAMILIES.map((family) => subnets[family] ?? []).filter((own) => own.length > 1);
  // What is not flannel's in the file is nobody's business.
  const wrong = [
    ...problems.filter((problem) => problem.startsWith("FLANNEL_")),
    ...ambiguous.map((own) => `got subnets ${own.join(", ")}, want one`),
  ];
  const [wholes, owns] = [all(networks), all(subnets)];
  if (wrong.length === 0 && mtu !== undefined && ipMasq !== undefined && wholes.length > 0 && owns.length > 0) {
    return { networks: wholes, subnets: owns, mtu, ipMasq };
  }
  const missing = [
    ...(wholes.length === 0 ? ["FLANNEL_NETWORK"] : []),
    ...(owns.length === 0 ? ["FLANNEL_SUBNET"] : []),
    ...(mtu === undefined ? ["FLANNEL_MTU"] : []),
    ...(ipMasq === undefined ? ["FLANNEL_IPMASQ"] : []),
  ];
  const faults = [...(missing.length > 0 ? [`${file} is missing ${missing.join(", ")}`] : []), ...wrong];
  throw await notLoaded(faults.join("; "), file);
}

/** Begins with upstream's words and the kernel's, for which scripts look. */
async function notLoaded(fault: string, file: string): Promise<CniError> {
  const { daemonOf, daemonText } = await import("./daemon.ts");
  const message = `failed to load flannel 'subnet.env' file: ${fault}; ${daemonText(daemonOf(file))}`;
  return new CniError(CNI_CODE.tryAgain, message);
}

/** "no such file or directory", in Go's spelling. */
function words(error: unknown): string {
  if (error instanceof SysError) return errnoText(error.errno).toLowerCase();
  return error instanceof Error ? error.message : String(error);
}
