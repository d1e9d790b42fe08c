import { expect, test } from "bun:test";
import type { Address } from "../ip/address.ts";
import { type IpipOptions, writeIpipInfo } from "./link_info_ipip.ts";
import { MessageWriter } from "./writer.ts";

const IFLA_INFO_DATA = 2;
const HEADER_LENGTH = 16;

// linux/if_tunnel.h: length, type, value of each; addresses in network order, the rest in the host's.
const cases: [string, IpipOptions, string][] = [
  ["nothing asked for", { type: "ipip" }, "04000200"],
  [
    "flannel's",
    { type: "ipip", local: "192.0.2.1" as Address, pathMtuDiscovery: false },
    "14000200 08000200 c0000201 05000a00 00000000",
  ],
  [
    "everything",
    {
      type: "ipip",
      parentIndex: 3,
      local: "192.0.2.1" as Address,
      remote: "192.0.2.2" as Address,
      ttl: 64,
      tos: 0x10,
      pathMtuDiscovery: true,
    },
    "34000200 08000100 03000000 08000200 c0000201 08000300 c0000202 05000400 40000000 05000500 10000000 05000a00 01000000",
  ],
];

test.each(cases)("writeIpipInfo: %s", (_, info, hex) => {
  const writer = new MessageWriter();
  writer.begin(0, 0, 0);
  writeIpipInfo(writer, IFLA_INFO_DATA, info);
  writer.end();
  expect(Buffer.from(writer.bytes).toString("hex", HEADER_LENGTH)).toBe(hex.replaceAll(" ", ""));
});
