// `flannelctl reserve` and `unreserve`: a subnet that stays a node's for ever, as upstream's document of reservations has it: its key
// in the store without TTL.

import { type Command, InvalidArgumentError, Option } from "commander";
import { type Address, familyOf, parseAddress } from "../ip/address.ts";
import type { Family } from "../ip/family.ts";
import { durationMs } from "./duration.ts";
import type { Session } from "./session.ts";
import { addStoreOptions, type StoreFlags } from "./store_options.ts";

/** Upstream's life time of a lease. */
const DEFAULT_TTL = "24h";

export interface ReserveFlags extends StoreFlags {
  readonly publicIp?: Address;
  readonly publicIpv6?: Address;
  readonly json: boolean;
}

export interface UnreserveFlags extends StoreFlags {
  readonly ttl: number;
  readonly remove: boolean;
  readonly json: boolean;
}

export function reserve(program: Command, session: Session): void {
  const command = program
    .command("reserve")
    .description("keep a subnet for one node for ever; a lease that it has there loses its end")
    .argument("<subnet...>", "the subnet as 10.5.1.0/24 or 10.5.1.0-24; in dual stack also the IPv6 one")
    .addOption(new Option("--public-ip <IP>", "the node's public IPv4 address").argParser(addressOf("ipv4")))
    .addOption(new Option("--public-ipv6 <IP>", "the node's public IPv6 address").argParser(addressOf("ipv6")))
    .option("--json", "print the reservation as JSON", false)
    .action((subnet: readonly string[], flags: ReserveFlags) =>
      session.run(async (signal) =>
        (await import("./subnets/reserve.ts")).reserveSubnet(subnet, flags, session, signal),
      ),
    );
  addStoreOptions(command);
  command.addHelpText(
    "after",
    "\nExamples:\n  flannelctl reserve 172.30.19.0/24 --public-ip=192.0.2.1 --etcd-prefix=/kubernetes/network\n" +
      "  flannelctl reserve 10.5.1.0/24 fd00:10:5:1::/64 --public-ip=192.0.2.1 --public-ipv6=2001:db8::1",
  );
}

export function unreserve(program: Command, session: Session): void {
  const command = program
    .command("unreserve")
    .description("give a reserved subnet an end again, or free it at once")
    .argument("<subnet...>", "the subnet, its key, or the node's public IP")
    .addOption(
      new Option("--ttl <time>", "how long it stays, as 24h, 90m or 30s")
        .argParser(durationMs)
        .default(durationMs(DEFAULT_TTL), DEFAULT_TTL),
    )
    .option("--remove", "remove it at once; a flanneld that uses it takes a subnet anew", false)
    .option("--json", "print the outcome as JSON", false)
    .action((subnet: readonly string[], flags: UnreserveFlags) =>
      session.run(async (signal) =>
        (await import("./subnets/reserve.ts")).unreserveSubnet(subnet, flags, session, signal),
      ),
    );
  addStoreOptions(command);
  command.addHelpText(
    "after",
    "\nExamples:\n  flannelctl unreserve 172.30.19.0/24\n  flannelctl unreserve 192.0.2.1 --remove",
  );
}

function addressOf(family: Family): (text: string) => Address {
  return (text) => {
    const address = parseAddress(text);
    if (address && familyOf(address) === family) return address;
    throw new InvalidArgumentError(`want an ${family === "ipv4" ? "IPv4" : "IPv6"} address`);
  };
}
