// One executable, several programs, told apart by the name it is called by: flanneld, flannelctl.

import { basename } from "node:path";

async function dispatch(): Promise<number> {
  const argv = process.argv.slice(2);
  switch (basename(process.argv0)) {
    case "flannelctl":
      return (await import("./flannelctl.ts")).main(argv);
    default:
      return (await import("./flanneld.ts")).main(argv);
  }
}

process.exitCode = await dispatch();
