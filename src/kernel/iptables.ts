// iptables' rules by iptables-save and iptables-restore, of whichever kind the host's are: legacy or over nftables. The legacy kind sends no notifications, so
// rules are looked at every --iptables-resync seconds.

import { IPTABLES, readIptables, restoreText } from "../firewall/iptables.ts";
import type { FoundRules, OwnNetworks, RuleSet } from "../firewall/rule.ts";
import { type Family, familiesOf, type PerFamily } from "../ip/family.ts";
import { type RunCommand, runCommand } from "./command.ts";
import type { RuleAccess } from "./rule_driver.ts";

/** How long iptables may wait for its lock (/run/xtables.lock), which kube-proxy holds for seconds on a large node. */
const LOCK_WAIT_SECONDS = "5";

export interface IptablesOptions {
  readonly networks: PerFamily<OwnNetworks>;
  /** Runs a program; in this network namespace by default. */
  readonly run?: RunCommand;
}

export class Iptables implements RuleAccess {
  readonly tool = "iptables";
  readonly #networks: PerFamily<OwnNetworks>;
  readonly #run: RunCommand;

  constructor({ networks, run = runCommand }: IptablesOptions) {
    this.#networks = networks;
    this.#run = run;
  }

  async list(): Promise<readonly FoundRules[]> {
    return await Promise.all(familiesOf(this.#networks).map((family) => this.#listFamily(family)));
  }

  async #listFamily(family: Family): Promise<FoundRules> {
    const save = await this.#run([`${IPTABLES[family]}-save`]);
    return readIptables(save, family, this.#networks[family] as OwnNetworks);
  }

  async write(desired: RuleSet | undefined, { family, set, suffix }: FoundRules): Promise<void> {
    const text = restoreText(desired, set, suffix);
    if (text === "") return;
    await this.#run([`${IPTABLES[family]}-restore`, "--noflush", "-w", LOCK_WAIT_SECONDS], text);
  }

  watch(): void {} // nobody tells

  [Symbol.dispose](): void {}
}
