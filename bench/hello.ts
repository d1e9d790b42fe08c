// The calibration of a start: a program of the same build that writes the file it is told and ends.

import { writeFileSync } from "node:fs";

const [, , path = "hello"] = process.argv;
writeFileSync(path, "hello\n");
