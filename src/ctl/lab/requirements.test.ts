import { describe, expect, test } from "bun:test";
import { findFlanneld, LAB_TOOLS, requireTools } from "./requirements.ts";

describe("requireTools", () => {
  test("requireTools: names everything that is missing, and how to get it", () => {
    const find = (tool: string) => (tool === "ip" || tool === "ping" ? null : `/bin/${tool}`);
    const text = () => requireTools(LAB_TOOLS, find, 1000);
    expect(text).toThrow("need root; run it with sudo");
    expect(text).toThrow("ip is missing; install the package iproute2");
    expect(text).toThrow("ping is missing; install the package iputils-ping");
  });

  test("requireTools: is silent when all is there", () => {
    expect(() => requireTools(LAB_TOOLS, (tool) => `/bin/${tool}`, 0)).not.toThrow();
  });
});

describe("findFlanneld", () => {
  test("findFlanneld: says where it looked, and which flag names another", () => {
    expect(() => findFlanneld("/nowhere/flanneld")).toThrow("/nowhere/flanneld; name it with --flanneld PATH");
    expect(findFlanneld("/bin/sh")).toBe("/bin/sh");
  });
});
