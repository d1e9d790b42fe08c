import { expect, test } from "bun:test";
import { ENOENT, errnoName, errnoText, SysError } from "./error.ts";
import { O_RDONLY, open } from "./libc.ts";

test.each([
  [1, "EPERM", "Operation not permitted"],
  [11, "EAGAIN", "Resource temporarily unavailable"],
  [95, "EOPNOTSUPP", "Operation not supported"],
  [105, "ENOBUFS", "No buffer space available"],
  [512, "errno 512", "Unknown error 512"],
])("errno %p is %p", (errno, name, text) => {
  expect([errnoName(errno), errnoText(errno)]).toEqual([name, text]);
});

test("open throws SysError with the call, the number and the path", () => {
  const attempt = () => open("/nowhere/at/all", O_RDONLY);
  expect(attempt).toThrow(new SysError("open", ENOENT, "/nowhere/at/all"));
  expect(attempt).toThrow("cannot open /nowhere/at/all: ENOENT (No such file or directory)");
});
