// The image of the DaemonSet, built by its own recipe, and its containers run by podman as kubelet would run them from their description: mounts, capabilities, a
// read-only root, no new privileges, the runtime's seccomp profile, the network of a node. The base image is a Debian made by mmdebstrap, kept in the user's cache.

import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { Container, DaemonSet } from "../../src/ctl/install/kinds.ts";
import { FLANNELD, type Node, type Underlay } from "../e2e/nodes.ts";
import type { Program } from "../e2e/program.ts";
import { run } from "../kernel/linux_world.ts";

const CACHE = join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "flannel-ts-image");
const MAKE_IMAGE = join(import.meta.dir, "../../packaging/kubernetes/make-image.sh");
const NAME = "localhost/flannel-ts:test";
const BASE = "localhost/debian:bookworm-slim";
/** An overlay cannot lie on another; vfs copies everything, and takes its time. */
const DRIVER = run(`stat --file-system --format=%T ${tmpdir()}`).trim() === "overlayfs" ? "vfs" : "overlay";
/** Of a tenth of a second each. */
const CLEARING_ROUNDS = 100;
/** A shell of the tests may raise limits only to what the machine lets it. */
const LIMITS = ["--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024"];

export interface ServiceAccount {
  readonly host: string;
  readonly port: string;
  readonly directory: string;
}

/** A storage of its own, which goes with it. */
export class Image implements Disposable {
  readonly directory = mkdtempSync(join(tmpdir(), "flannel-image-"));
  readonly #storage: readonly string[];

  constructor() {
    const { directory } = this;
    const places = [`--root=${directory}/root`, `--runroot=${directory}/run`, `--tmpdir=${directory}/tmp`];
    this.#storage = [...places, `--storage-driver=${DRIVER}`, "--cgroup-manager=cgroupfs", "--events-backend=file"];
    run(`podman ${this.#storage.join(" ")} import --quiet ${baseFile()} ${BASE}`);
    const [, machine = ""] = /(x86_64|aarch64)/.exec(run("uname -m")) ?? [];
    const options = "--network=host --isolation=chroot --layers=false --quiet --pull=never";
    const environment = `STORAGE='${this.#storage.join(" ")}' BASE=${BASE} OPTIONS='${options}'`;
    run(`${environment} ${MAKE_IMAGE} ${FLANNELD} ${NAME} ${machine === "aarch64" ? "arm64" : "amd64"} 2>&1`);
  }

  /** Starts a container of the pod on a node; `places` are the node's own for paths of the host. `account`: what kubelet adds, the API server and a folder with ca.crt and token. */
  start(
    node: Node,
    container: Container,
    set: DaemonSet,
    places: Readonly<Record<string, string>>,
    account?: ServiceAccount,
  ): Program {
    const added = account
      ? [
          `--env=KUBERNETES_SERVICE_HOST=${account.host}`,
          `--env=KUBERNETES_SERVICE_PORT=${account.port}`,
          `--volume=${account.directory}:/var/run/secrets/kubernetes.io/serviceaccount:ro`,
        ]
      : [];
    const flags = this.#flags(container, set, places, `node${node.n}`);
    return node.spawn(["podman", ...this.#storage, "run", "--rm", ...added, ...flags]);
  }

  async finished(node: Node, container: Container, set: DaemonSet, places: Readonly<Record<string, string>>) {
    const program = this.start(node, container, set, places);
    return { code: await program.exit(60_000), output: program.output };
  }

  /** The commands of all containers that run. */
  get running(): string {
    return run(`podman ${this.#storage.join(" ")} ps --format '{{.Command}}'`);
  }

  #flags(container: Container, set: DaemonSet, places: Readonly<Record<string, string>>, nodeName: string): string[] {
    const { securityContext: security, command: [program = "", ...args] = [], env = [] } = container;
    const { add = [], drop = [] } = security?.capabilities ?? {};
    const volumes = new Map(set.spec?.template.spec?.volumes?.map((volume) => [volume.name, volume]));
    const mounts = (container.volumeMounts ?? []).map(({ name, mountPath, readOnly }) => {
      const volume = volumes.get(name);
      const source = volume?.hostPath ? (places[volume.hostPath.path] ?? volume.hostPath.path) : places[name];
      if (source === undefined) throw new Error(`There is no place for the volume ${name}`);
      return `--volume=${source}:${mountPath}${readOnly ? ":ro" : ""}`;
    });
    return [
      "--network=host",
      ...LIMITS,
      ...(security?.readOnlyRootFilesystem ? ["--read-only", "--read-only-tmpfs=false"] : []),
      ...(security?.allowPrivilegeEscalation === false ? ["--security-opt=no-new-privileges"] : []),
      ...drop.map((name) => `--cap-drop=${name}`),
      ...add.map((name) => `--cap-add=${name}`),
      ...env.map(({ name, value }) => `--env=${name}=${value ?? nodeName}`),
      ...mounts,
      `--entrypoint=${program}`,
      NAME,
      ...args,
    ];
  }

  [Symbol.dispose](): void {
    // Containers outlive the podman that started them.
    run(`podman ${this.#storage.join(" ")} rm --all --force --time=0 >/dev/null 2>&1 || true`);
    // conmon, when its container is gone, calls podman to clear up, which mounts the storage once more: what is mounted then goes in a later round.
    const mounts = `grep -o ' ${this.directory}[^ ]*' /proc/mounts | sort -r`;
    run(`for i in $(seq ${CLEARING_ROUNDS}); do
      ${mounts} | xargs -r umount --lazy; rm -rf ${this.directory} 2>/dev/null && break; sleep 0.1
    done`);
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** What a pod finds of its node: the places of its mounts, by the host's path or the volume's name. */
export function placesOf(underlay: Underlay, node: Node, set: DaemonSet, files: Readonly<Record<string, string>>) {
  const place = (name: string) => join(node.directory, name);
  const configuration = place("cfg");
  for (const name of ["cfg", "run", "cni-bin", "cni-conf"]) mkdirSync(place(name), { recursive: true });
  for (const [name, text] of Object.entries(files)) writeFileSync(join(configuration, name), text);
  if (!existsSync(place("xtables.lock"))) writeFileSync(place("xtables.lock"), "");
  const places: Record<string, string> = {
    "/run/flannel": place("run"),
    "/opt/cni/bin": place("cni-bin"),
    "/etc/cni/net.d": place("cni-conf"),
    "/run/xtables.lock": place("xtables.lock"),
    "flannel-cfg": configuration,
    [dirname(underlay.storeFile)]: dirname(underlay.storeFile),
  };
  // Nothing of the real host may slip in but this, which is the node's by its network namespace.
  const allowed = new Set([...Object.keys(places), "/proc/sys/net"]);
  for (const { hostPath } of set.spec?.template.spec?.volumes ?? []) {
    if (hostPath && !allowed.has(hostPath.path)) throw new Error(`The pod wants ${hostPath.path} of the host`);
  }
  return places;
}

/** A Debian with nothing but what apt needs; made once, in a minute or two. */
function baseFile(): string {
  const file = join(CACHE, `bookworm-${run("uname -m").trim()}.tar`);
  if (existsSync(file)) return file;
  mkdirSync(CACHE, { recursive: true });
  const made = mkdtempSync(join(CACHE, "new-"));
  try {
    run(
      `mmdebstrap --quiet --variant=apt bookworm ${made}/base.tar 2>${made}/log || { tail -20 ${made}/log >&2; exit 1; }`,
    );
    renameSync(join(made, "base.tar"), file);
  } finally {
    rmSync(made, { recursive: true, force: true });
  }
  return file;
}
