// Records what a mk-docker-opts.sh answers to every case, as lines of JSON: `name`, then the answer. As root:
//
//   bun test/packaging/mk_docker_opts_record.ts PATH/dist/mk-docker-opts.sh > test/fixtures/mk_docker_opts.json
//
// The fixture is from upstream's script of March 2022 (unchanged in v0.28.9) under dash 0.5.12 with mawk and iproute2 6.1.

import { resolve } from "node:path";
import { Namespace } from "../kernel/linux_world.ts";
import { ask, CASES, ROUTES } from "./mk_docker_opts_cases.ts";

const script = resolve(process.argv[2] ?? "packaging/mk-docker-opts.sh");
using namespace = new Namespace();
namespace.run(ROUTES.join("\n"));
const answers = CASES.map((each) => [each.name, ask(each, ["dash"], script, namespace.name)]);
process.stdout.write(`${JSON.stringify(Object.fromEntries(answers), undefined, 1)}\n`);
