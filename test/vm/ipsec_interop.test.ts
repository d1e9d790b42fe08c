// The ipsec backend beside Go's in one network, each with its own charon, in a guest. FLANNEL_GO names Go's flanneld (test/e2e/go_flannel.ts); what goes on in there
// is ipsec_interop.sh.

import { beforeAll, describe, expect, test } from "bun:test";
import { GO_FLANNELS } from "../e2e/go_flannel.ts";
import { LIMIT_MS, runIpsec } from "./ipsec_nodes.ts";
import { everyPing, type NodesResult } from "./nodes.ts";

for (const { title, executable, api } of GO_FLANNELS) {
  if (api !== "3") continue; // v0.7.1 knows charon's older sockets only
  describe(`beside ${title}`, () => {
    let both: NodesResult;

    beforeAll(async () => {
      const name = executable.split("/").at(-1) ?? "";
      both = await runIpsec("ipsec_interop.sh", {
        modules: ["br_netfilter"],
        etcd: true,
        programs: [executable],
        variables: { GO: name },
      });
    }, LIMIT_MS + 10_000);

    test("every pod reaches every other", () => {
      expect(both.said("beside")).toEqual(everyPing(["ipv4"]));
    });

    test("the policies are the same, byte for byte as ip prints them", () => {
      expect(both.file("policies-go")).not.toBe("");
      expect(both.file("policies-ours")).toBe(both.file("policies-go"));
    });

    test("the connections have the same names and selectors", () => {
      const said = (text: string) =>
        text
          .split("\n")
          .map((line) =>
            /event \{(\S+) .*(mode=\S+ rekey_time=\d+).*(local-ts=\S+ remote-ts=[^}]*)/.exec(line)?.slice(1),
          )
          .sort();
      expect(said(both.file("connections-go"))).not.toContain(undefined);
      expect(said(both.file("connections-ours"))).toEqual(said(both.file("connections-go")));
    });

    test("a node changes from Go's to ours and back", () => {
      expect(both.said("ours")).toEqual(everyPing(["ipv4"]));
      expect(both.said("back")).toEqual(everyPing(["ipv4"]));
    });
  });
}
