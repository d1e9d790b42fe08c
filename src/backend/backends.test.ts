import { expect, test } from "bun:test";
import { backendOfType, leaseTypeOf } from "./backends.ts";

function refusal(type: string): string {
  try {
    backendOfType(type, "config: Backend.Type");
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error(`${type} is a backend`);
}

test.each(["aws-vpc", "gce", "ali-vpc"])(
  "backendOfType: %s was dropped: since when, and what does the same",
  (type) => {
    const message = refusal(type);
    expect(message).toStartWith(
      `config: Backend.Type: got "${type}", which flannel dropped in 2022 (v0.20.0): it wrote routes `,
    );
    expect(message).toContain("vxlan needs nothing of the cloud");
    expect(message).toContain(", want a backend of this version: vxlan, ");
    expect(message).not.toContain("did you mean");
  },
);

test("backendOfType: tencent-vpc is upstream's and not ours", () => {
  expect(refusal("tencent-vpc")).toContain(
    'got "tencent-vpc", which this version has not, since it writes into a cloud\'s route table',
  );
});

test.each([
  ["vxlna", "vxlan"],
  ["vx-lan", "vxlan"],
  ["extention", "extension"],
  ["awsvpc", "aws-vpc"],
])("backendOfType: %s was meant to be %s", (type, meant) => {
  expect(refusal(type)).toEndWith(` (did you mean "${meant}"?)`);
});

test("backendOfType makes no guess at what is like nothing", () => {
  expect(refusal("calico")).toMatch(/^config: Backend\.Type: got "calico", want a backend of this version: [a-z, -]+$/);
});

test("leaseTypeOf is what upstream's leases hold", () => {
  expect(["vxlan", "alloc", "extension", "unheard-of"].map(leaseTypeOf)).toEqual([
    "vxlan",
    "",
    "extension",
    "unheard-of",
  ]);
});
