/**
 * pgxa in a process of its own, whose memory is its own too.
 *
 * Started with a configuration file. Over the channel to its parent it says where it listens, and, as often as it is
 * asked, how much memory it has once the garbage is gone.
 */
import { readFileSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { startProxy } from "../../src/cli/compose.ts";
import { parseConfig } from "../../src/config/load.ts";
import { silentLog } from "../../src/observe/log.ts";

export interface Memory {
  readonly rss: number;
  /** What is reachable: objects and buffers. */
  readonly used: number;
}

export type Message =
  | { readonly kind: "listening"; readonly port: number }
  | { readonly kind: "memory"; readonly memory: Memory };

if (process.send !== undefined) await run(process.argv[2]!);

async function run(configFile: string): Promise<void> {
  const proxy = await startProxy(parseConfig(readFileSync(configFile, "utf8"), configFile, {}), {
    log: silentLog,
  });
  process.on("message", () => tell({ kind: "memory", memory: measure() }));
  process.on("disconnect", () => process.exit());
  tell({ kind: "listening", port: proxy.port });
}

function measure(): Memory {
  setFlagsFromString("--expose-gc");
  runInNewContext("gc")();
  const { rss, heapUsed, arrayBuffers } = process.memoryUsage();
  return { rss, used: heapUsed + arrayBuffers };
}

function tell(message: Message): void {
  process.send?.(message);
}
