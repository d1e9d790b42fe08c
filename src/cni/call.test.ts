import { expect, test } from "bun:test";
import { isInterfaceName, readCall } from "./call.ts";

const whole = {
  CNI_COMMAND: "ADD",
  CNI_CONTAINERID: "abc_1.2-3",
  CNI_NETNS: "/var/run/netns/a",
  CNI_IFNAME: "eth0",
  CNI_ARGS: "K8S_POD_NAME=a;IgnoreUnknown=1",
  CNI_PATH: "/opt/cni/bin::/usr/lib/cni",
};

test("readCall reads what a runtime gives", () => {
  expect(readCall(whole)).toEqual({
    verb: "ADD",
    containerId: "abc_1.2-3",
    netns: "/var/run/netns/a",
    ifname: "eth0",
    args: "K8S_POD_NAME=a;IgnoreUnknown=1",
    path: ["/opt/cni/bin", "/usr/lib/cni"],
  });
});

test.each(["STATUS", "GC", "VERSION"])("readCall for %s has no attachment, whatever is in the environment", (verb) => {
  const { containerId, netns, ifname } = readCall({ ...whole, CNI_COMMAND: verb });
  expect([containerId, netns, ifname]).toEqual(["", "", ""]);
});

test("readCall for DEL does without a namespace", () => {
  const { CNI_NETNS: _, ...without } = whole;
  expect(readCall({ ...without, CNI_COMMAND: "DEL" }).netns).toBe("");
});

test.each([
  [{ CNI_COMMAND: undefined }, "cannot read CNI_COMMAND: it is missing"],
  [{ CNI_COMMAND: "add" }, 'cannot read CNI_COMMAND: got "add", want one of ADD, DEL'],
  [{ CNI_NETNS: "", CNI_PATH: undefined }, "required env variables [CNI_NETNS,CNI_PATH] missing"],
  [{ CNI_CONTAINERID: "../a" }, 'CNI_CONTAINERID: got "../a"'],
  [{ CNI_CONTAINERID: ".a" }, 'CNI_CONTAINERID: got ".a"'],
  [
    { CNI_CONTAINERID: "/", CNI_IFNAME: "a b" },
    'CNI_CONTAINERID: got "/", want letters, digits, "_", "." and "-"; CNI_IFNAME',
  ],
])("readCall with %j is refused with code 4", (change, words) => {
  const read = () => readCall({ ...whole, ...change });
  expect(read).toThrow(expect.objectContaining({ code: 4 }));
  expect(read).toThrow(words);
});

test.each([
  ["eth0", true],
  ["a", true],
  ["123456789012345", true],
  ["1234567890123456", false],
  ["", false],
  [".", false],
  ["..", false],
  ["a/b", false],
  ["a:b", false],
  ["a\tb", false],
])("isInterfaceName(%j) is %p", (name, is) => {
  expect(isInterfaceName(name)).toBe(is);
});
