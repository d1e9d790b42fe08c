import { expect, test } from "bun:test";
import { type Wish, Wishes } from "./wishes.ts";

const said = (text?: string) => (text === undefined ? {} : { "node-public-ip": text });

test("follow tells the latest first, then each change once, rubbish as what is wrong with it, and ends with its signal", async () => {
  const wishes = new Wishes();
  wishes.learn(said("192.0.2.1"));
  wishes.learn(said("192.0.2.2"));
  const end = new AbortController();
  const told: Wish[] = [];
  const following = (async () => {
    for await (const wish of wishes.follow(end.signal)) told.push(wish);
  })();
  for (const text of ["192.0.2.2", "192.0.2.3", "192.0.2.3", "fd00::1", undefined]) {
    wishes.learn({ ...said(text), "backend-type": "vxlan" });
    await Bun.sleep(0);
  }
  end.abort();
  await following;
  const rubbish = `this node's annotation node-public-ip is "fd00::1", want an ipv4 address`;
  expect(told).toEqual([{ ipv4: "192.0.2.2" }, { ipv4: "192.0.2.3" }, rubbish, {}] as Wish[]);
});
