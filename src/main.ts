// One executable, several programs, told apart by the name it is called by: flanneld, flannelctl, flannel (the CNI plugin).

import { basename } from "node:path";

async function dispatch(): Promise<number> {
  const argv = process.argv.slice(2);
  switch (basename(process.argv0)) {
    case "flannelctl":
      return (await import("./flannelctl.ts")).main(argv);
    case "flannel": {
      // A container runtime shows its user what stands on standard output, as the CNI specification has it.
      const msg = "this version of flannel has no CNI plugin yet: flanneld and flannelctl are there";
      console.log(JSON.stringify({ cniVersion: "1.0.0", code: 999, msg }));
      return 1;
    }
    default:
      return (await import("./flanneld.ts")).main(argv);
  }
}

// Verification of certificates is never off, whatever the environment says; without this the runtime warns that it were.
delete process.env.NODE_TLS_REJECT_UNAUTHORIZED;
process.exitCode = await dispatch();
