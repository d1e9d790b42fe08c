// The driver of the IKE daemon and its connections. What charon holds is read from it over VICI, never remembered, so that the next flanneld goes on with the
// charon of this one, and with its associations. The daemon's death is heard of by the end of the connection to it: drift like any other.

import type { IkeDaemon } from "../state/backend_object.ts";
import { type ObjectKind, objectKey } from "../state/object.ts";
import type { Operation } from "../state/operation.ts";
import { ViciClient, ViciError } from "../vici/client.ts";
import { Associations } from "./associations.ts";
import {
  CHARON_FILES,
  type CharonFiles,
  type CharonProcess,
  runningCharon,
  startCharon,
  stopCharon,
  trimLog,
} from "./charon.ts";
import type { Driver, Outcome } from "./driver.ts";
import { connectionSection, connectionsOf } from "./ike_connection.ts";
import { Mirror } from "./mirror.ts";
import { sweepAssociations } from "./xfrm.ts";

/** Plugins are loaded and the machine asked for randomness first; seconds on a slow one. */
const START_MS = 30_000;
/** What a charon that was not started for this configuration is taken for. */
const UNKNOWN: IkeDaemon = { kind: "ikedaemon", espProposal: "", udpEncap: false, presharedKey: "" };
/** Names the key among charon's: loaded again it replaces itself. */
const KEY_ID = "flannel";

export interface IkeOptions {
  readonly files?: CharonFiles;
  /** The daemon that is wanted, for one who only looks: what stands in a charon of the same is read with it, as flanneld would find it. */
  readonly look?: IkeDaemon | undefined;
}

export class IkeDriver implements Driver {
  readonly kinds: readonly ObjectKind[] = ["ikedaemon", "ike"];
  readonly mirror = new Mirror();
  readonly #files: CharonFiles;
  readonly #look: IkeDaemon | undefined;
  #client: ViciClient | undefined;
  #associations: Associations | undefined;
  #daemon: IkeDaemon | undefined;
  #inDoubt = true;
  #wake: () => void = () => {};

  constructor({ files = CHARON_FILES, look }: IkeOptions = {}) {
    this.#files = files;
    this.#look = look;
  }

  get inDoubt(): boolean {
    return this.#inDoubt;
  }

  watch(wake: () => void): void {
    this.#wake = wake;
  }

  /** Only whether there is a daemon: its connections are read when it is known to be of this configuration. */
  async refresh(): Promise<void> {
    if (!this.#inDoubt) return;
    this.#inDoubt = false;
    const running = runningCharon(this.#files);
    if (!running) this.mirror.lose("ikedaemon", objectKey.ikedaemon());
    else if (!(this.#look && running.digest === digestOf(this.#look) && (await this.#sees(this.#look))))
      this.mirror.see(UNKNOWN, true);
  }

  /** Asks the charon that runs for its connections, and changes nothing; whether it answers. */
  async #sees(daemon: IkeDaemon): Promise<boolean> {
    try {
      using client = await ViciClient.connect(this.#files.socket, { onEvent: () => {}, onClose: () => {} });
      const messages = await client.list("list-conns", "list-conn");
      for (const object of [daemon, ...messages.flatMap(connectionsOf)]) this.mirror.see(object, true);
      return true;
    } catch {
      return false; // it would be replaced
    }
  }

  async apply(operations: readonly Operation[]): Promise<readonly Outcome[]> {
    const outcomes: Outcome[] = [];
    for (const operation of operations) {
      try {
        await this.#do(operation);
        outcomes.push(undefined);
      } catch (error) {
        outcomes.push(error instanceof Error ? error : new Error(String(error)));
      }
    }
    return outcomes;
  }

  async #do({ verb, key, object }: Operation): Promise<void> {
    switch (object.kind) {
      case "ikedaemon":
        if (verb === "delete") await this.#stop();
        else await this.#bring(object);
        break;
      case "ike": {
        const client = this.#client;
        if (verb === "delete") {
          this.#associations?.forget(object.name);
          if (client) await unload(client, object.name);
          break;
        }
        if (!client || !this.#daemon) throw new ViciError(`cannot load ${object.name}: charon does not run`);
        await client.request("load-conn", connectionSection(object, this.#daemon), `connection ${object.name}`);
        this.#associations?.want(object);
        break;
      }
      default:
        throw new Error(`IKE driver got a ${object.kind}`);
    }
    this.mirror.confirm(key, verb === "delete" ? undefined : object);
  }

  /** The daemon that runs, when it was started for the same; otherwise one anew, which agrees on everything anew. */
  async #bring(daemon: IkeDaemon): Promise<void> {
    this.#detach();
    const digest = digestOf(daemon);
    const running = runningCharon(this.#files);
    if (running?.digest === digest && (await this.#connects())) return await this.#attach(daemon);
    if (running) await this.#end(running);
    this.#loseConnections();
    await startCharon(this.#files, digest, () => this.#connects(), START_MS);
    await this.#attach(daemon);
  }

  async #connects(): Promise<boolean> {
    try {
      const client = await ViciClient.connect(this.#files.socket, {
        onEvent: (_, message) => this.#associations?.hear(message),
        onClose: () => this.#lost(client),
      });
      this.#client = client;
      return true;
    } catch {
      return false; // not yet, or no more
    }
  }

  async #attach(daemon: IkeDaemon): Promise<void> {
    const client = this.#client;
    if (!client) throw new ViciError("charon ended while it was started");
    const associations = new Associations(client, () => trimLog(this.#files));
    this.#associations = associations;
    this.#daemon = daemon;
    await client.request("load-shared", { id: KEY_ID, type: "IKE", data: daemon.presharedKey }, "the pre-shared key");
    await client.listen("child-updown");
    await client.listen("ike-updown");
    const messages = await client.list("list-conns", "list-conn");
    for (const connection of messages.flatMap(connectionsOf)) {
      this.mirror.see(connection, true);
      associations.want(connection);
    }
  }

  /** The end of a connection that was not given up here. */
  #lost(client: ViciClient): void {
    if (this.#client !== client) return;
    this.#detach();
    this.mirror.lose("ikedaemon", objectKey.ikedaemon());
    this.#loseConnections();
    this.#wake();
  }

  async #stop(): Promise<void> {
    this.#detach();
    const running = runningCharon(this.#files);
    if (running) await this.#end(running);
    this.#loseConnections();
  }

  /** With what charons before it may have left, which were killed. */
  async #end(running: CharonProcess): Promise<void> {
    await stopCharon(this.#files, running);
    sweepAssociations();
  }

  #loseConnections(): void {
    this.mirror.loseWhere(["ike"], () => true);
  }

  #detach(): void {
    this.#associations?.[Symbol.dispose]();
    this.#client?.[Symbol.dispose]();
    this.#associations = undefined;
    this.#client = undefined;
  }

  /** charon goes on. */
  [Symbol.dispose](): void {
    this.#detach();
  }
}

/** Its associations end with it. */
async function unload(client: ViciClient, name: string): Promise<void> {
  try {
    await client.request("unload-conn", { name }, `the unloading of ${name}`);
  } catch (error) {
    if (!(error instanceof ViciError)) throw error; // it is not there
  }
  try {
    // At once, without waiting for the peer, which may be gone.
    await client.request("terminate", { ike: name, timeout: "-1" }, `the end of ${name}`);
  } catch (error) {
    if (!(error instanceof ViciError)) throw error; // it has no associations
  }
}

/** Tells configurations apart, without telling the key. */
function digestOf({ espProposal, udpEncap, presharedKey }: IkeDaemon): string {
  return new Bun.CryptoHasher("sha256").update(JSON.stringify([espProposal, udpEncap, presharedKey])).digest("hex");
}
