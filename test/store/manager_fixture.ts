// What the subnet manager's tests say in few words: configurations, nodes, and registries that fail or are raced on
// demand.

import { parseNetworkConfig } from "../../src/config/net_conf.ts";
import type { NetworkConfig } from "../../src/config/network.ts";
import { type Address, parseAddress } from "../../src/ip/address.ts";
import type { PerFamily } from "../../src/ip/family.ts";
import { type Prefix, parsePrefix } from "../../src/ip/prefix.ts";
import type { LeaseAttributes } from "../../src/lease/lease.ts";
import type { LeaseRequest } from "../../src/subnet/manager.ts";
import type { Registry } from "../../src/subnet/registry.ts";

export function config(text: string): NetworkConfig {
  return parseNetworkConfig(text, "test");
}

export function addresses(...texts: string[]): PerFamily<Address> {
  const all = texts.map((text) => parseAddress(text)).filter((address) => address !== undefined);
  return Object.fromEntries(all.map((address) => [address.includes(":") ? "ipv6" : "ipv4", address]));
}

export function subnets(...texts: string[]): PerFamily<Prefix> {
  const all = texts.map((text) => parsePrefix(text)).filter((prefix) => prefix !== undefined);
  return Object.fromEntries(all.map((prefix) => [prefix.includes(":") ? "ipv6" : "ipv4", prefix]));
}

export function node(...publicIps: string[]): LeaseAttributes {
  return { publicIp: addresses(...publicIps), backendType: "vxlan", backendData: { ipv4: { VNI: 1 } } };
}

export function request(attributes: LeaseAttributes, ...previous: string[]): LeaseRequest {
  return { attributes, previous: subnets(...previous) };
}

export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await Bun.sleep(2);
}

/**
 * The registry with `before` run ahead of each call of one method, and ahead of each batch of a watch; what it
 * throws, the call throws.
 */
export function intercept(over: Registry, method: keyof Registry, before: () => Promise<void>): Registry {
  const intercepted = async function* (items: () => AsyncIterable<unknown>) {
    await before();
    for await (const item of items()) {
      yield item;
      await before();
    }
  };
  return new Proxy(over, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== "function") return value;
      const call = (...parameters: unknown[]) => Reflect.apply(value, target, parameters);
      if (name !== method) return call;
      if (method === "watch") return (...parameters: unknown[]) => intercepted(() => call(...parameters));
      return async (...parameters: unknown[]) => {
        await before();
        return call(...parameters);
      };
    },
  });
}

/** `run` the first time only: a race that is lost once. */
export function once(run: () => Promise<unknown>): () => Promise<void> {
  let ran = false;
  return async () => {
    if (!ran) await run();
    ran = true;
  };
}
