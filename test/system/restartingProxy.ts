/**
 * `pgxa up` as it is, but that it dies when the file named by PGXA_TEST_DIES says so: `PID POINT`, the process id and a
 * fault point, or `any POINT`. A process that is started by an online restart runs this again, with the same variable.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { runUp } from "../../src/cli/up.ts";

const file = process.env["PGXA_TEST_DIES"] ?? "";

function at(point: string): void {
  let order = "";
  try {
    order = readFileSync(file, "utf8");
  } catch {
    return;
  }
  if (order !== `any ${point}` && order !== `${process.pid} ${point}`) return;
  try {
    writeFileSync(`${file}.taken`, "", { flag: "wx" }); // one dies, although two may be there at once
  } catch {
    return;
  }
  writeFileSync(file, `died ${process.pid}`);
  process.kill(process.pid, "SIGKILL");
}

process.exitCode = await runUp(process.argv.slice(2), { faultPoint: at, handoverPoint: at });
