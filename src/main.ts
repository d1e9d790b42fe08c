// One executable, several programs, told apart by the name it is called by: flanneld, flannelctl, flannel (the CNI plugin), and the
// plugins that flannel has built in.

async function dispatch(): Promise<number> {
  const argv = process.argv.slice(2);
  const name = process.argv0.slice(process.argv0.lastIndexOf("/") + 1);
  switch (name) {
    case "flannelctl":
      return (await import("./flannelctl.ts")).main(argv);
    case "flannel":
    case "bridge":
    case "host-local":
    case "portmap":
    case "loopback":
      return (await import("./flannel.ts")).main(name, argv);
    default:
      return (await import("./flanneld.ts")).main(argv);
  }
}

// Verification of certificates is never off, whatever the environment says; without this the runtime warns that it were.
delete process.env.NODE_TLS_REJECT_UNAUTHORIZED;
process.exitCode = await dispatch();
