import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readNodeSubnet } from "./subnet.ts";

let root: string;
let file: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "flannel-subnet-"));
  file = join(root, "subnet.env");
});

afterEach(() => rmSync(root, { recursive: true, force: true }));

const rest = "FLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";
const v4 = "FLANNEL_NETWORK=10.5.0.0/16,10.6.0.0/16,10.5.0.0/16\nFLANNEL_SUBNET=10.5.1.1/24\n";
const v6 = "FLANNEL_IPV6_NETWORK=fd00:5::/48\nFLANNEL_IPV6_SUBNET=fd00:5:0:1::1/64\n";

test.each([
  ["IPv4", v4, ["10.5.0.0/16", "10.6.0.0/16"], ["10.5.1.0/24"]],
  ["IPv6", v6, ["fd00:5::/48"], ["fd00:5:0:1::/64"]],
  [
    "both",
    `SOMETHING else\nX=1\n${v4}${v6}`,
    ["10.5.0.0/16", "10.6.0.0/16", "fd00:5::/48"],
    ["10.5.1.0/24", "fd00:5:0:1::/64"],
  ],
])("readNodeSubnet of %s", async (_, text, networks, subnets) => {
  writeFileSync(file, text + rest);
  expect(await readNodeSubnet(file)).toEqual({ networks, subnets, mtu: 1450, ipMasq: true } as never);
});

test.each([
  ["", "is missing FLANNEL_NETWORK, FLANNEL_SUBNET, FLANNEL_MTU, FLANNEL_IPMASQ"],
  [v4, "is missing FLANNEL_MTU, FLANNEL_IPMASQ"],
  [`FLANNEL_NETWORK\n${rest}`, "is missing FLANNEL_NETWORK, FLANNEL_SUBNET"],
  [v4.replace("10.5.1.1/24", "10.5.1.1/24,10.5.2.1/24") + rest, "got subnets 10.5.1.0/24, 10.5.2.0/24, want one"],
  [`${v4}FLANNEL_IPV6_SUBNET=x\n${rest}`, 'FLANNEL_IPV6_SUBNET: got "x", want an ipv6 prefix'],
  [`${v4}FLANNEL_MTU=big\nFLANNEL_IPMASQ=true\n`, "is missing FLANNEL_MTU"],
])("readNodeSubnet of %j asks to try again", async (text, words) => {
  writeFileSync(file, text);
  await expect(readNodeSubnet(file)).rejects.toThrow(expect.objectContaining({ code: 11 }));
  await expect(readNodeSubnet(file)).rejects.toThrow(words);
});

test("readNodeSubnet of no file has the words that people search for", async () => {
  const words = `failed to load flannel 'subnet.env' file: open ${file}: no such file or directory; flanneld has not told how it is`;
  await expect(readNodeSubnet(file)).rejects.toThrow(words);
});
