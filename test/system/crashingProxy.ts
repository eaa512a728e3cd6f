/**
 * pgxa in a process of its own that dies, or kills a shard, at a named moment of the commit path.
 *
 * Started with a configuration file. Over the channel to its parent it says where it listens, is told what to do at
 * which point, and says which processes of the shard it killed. Everything happens inside the fault point, so that
 * not one more byte is sent or written after it.
 */
import { readFileSync } from "node:fs";
import type { FaultPoint } from "../../src/base/faultPoint.ts";
import { startProxy } from "../../src/cli/compose.ts";
import { childrenOf, signalProcess } from "../../src/cli/osProcess.ts";
import { parseConfig } from "../../src/config/load.ts";
import { silentLog } from "../../src/observe/log.ts";

/** What is to happen when the point is passed for the `index`-th time in a transaction. */
export interface Order {
  readonly point: FaultPoint;
  readonly index: number;
  /** The postmaster to kill with all its children, or null. */
  readonly postmaster: number | null;
  readonly diesItself: boolean;
  /** Whether it stops, until it is sent SIGCONT. */
  readonly stops?: boolean;
}

export type Message =
  | { readonly kind: "listening"; readonly port: number }
  | { readonly kind: "armed" }
  | { readonly kind: "struck"; readonly killed: readonly number[] };

if (process.send !== undefined) await run(process.argv[2]!);

async function run(configFile: string): Promise<void> {
  let order: Order | null = null;
  const config = parseConfig(readFileSync(configFile, "utf8"), configFile, {});
  const proxy = await startProxy(config, {
    log: silentLog,
    faultPoint(point, index) {
      if (order === null || order.point !== point || order.index !== index) return;
      const { postmaster, diesItself, stops } = order;
      order = null;
      const killed = postmaster === null ? [] : killShard(postmaster);
      if (diesItself) process.kill(process.pid, "SIGKILL");
      if (stops === true) process.kill(process.pid, "SIGSTOP");
      tell({ kind: "struck", killed });
    },
  });
  process.on("message", (message: Order) => {
    order = message;
    tell({ kind: "armed" });
  });
  process.on("disconnect", () => process.exit());
  tell({ kind: "listening", port: proxy.port });
}

function tell(message: Message): void {
  process.send?.(message);
}

/** The postmaster is held still while its children are counted. */
function killShard(postmaster: number): number[] {
  signalProcess(postmaster, "SIGSTOP");
  const pids = [postmaster, ...childrenOf(postmaster)];
  for (const pid of pids) signalProcess(pid, "SIGKILL");
  return pids;
}
