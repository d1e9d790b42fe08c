// A Docker host for the guide: a node with a root directory of its own, as far as it is written to. Its mount namespace lays a memory file system over /etc,
// /usr, /opt, /run and /var, so that files stand where an operator puts them and nothing of this machine changes.

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Node } from "./nodes.ts";
import type { Program } from "./program.ts";

const WRITABLE = ["etc", "usr", "opt", "run", "var"];

export class DockerHost {
  readonly holder: Program;

  private constructor(holder: Program) {
    this.holder = holder;
  }

  static async open(node: Node): Promise<DockerHost> {
    mkdirSync(node.directory, { recursive: true });
    const layers = join(node.directory, "layers");
    mkdirSync(layers);
    const overlays = WRITABLE.map(
      (name) =>
        `mkdir ${layers}/${name} ${layers}/${name}.work; ` +
        `mount -t overlay overlay -o lowerdir=/${name},upperdir=${layers}/${name},workdir=${layers}/${name}.work /${name}`,
    );
    const script = [`mount -t tmpfs tmpfs ${layers}`, ...overlays, "echo holding", "exec sleep infinity"].join("; ");
    const holder = node.spawn(["unshare", "--mount", "--propagation", "private", "sh", "-ec", script]);
    await holder.says(/^holding$/m);
    return new DockerHost(holder);
  }
}
