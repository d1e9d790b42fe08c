import { describe, expect, test } from "bun:test";
import { decoded } from "../../test/fixtures/netlink/captured.ts";
import { decodeLink, type LinkMessage } from "./link.ts";
import { decodeLinkBrief } from "./link_brief.ts";

const brief = (withKind: boolean) => (message: Parameters<typeof decodeLink>[0]) => decodeLinkBrief(message, withKind);

describe("decodeLinkBrief reads what decodeLink reads", () => {
  test.each(["flannel.1", "eth1", "cni0", "lo"])("%s", (name) => {
    const command = `ip link show dev ${name}`;
    const [whole] = decoded(command, decodeLink) as LinkMessage[];
    const { index, flags, mtu, mac, operstate, info } = whole as LinkMessage;
    const want = { index, name, flags, mtu, mac, operstate };
    expect(decoded(command, brief(false))).toEqual([{ ...want, kind: undefined }]);
    expect(decoded(command, brief(true))).toEqual([{ ...want, kind: info?.type }]);
  });
});
