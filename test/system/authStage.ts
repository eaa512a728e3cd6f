/** pgxa with other ways of logging in, in front of the shards of a stage. */
import { Writable } from "node:stream";
import pg from "pg";
import { parse, stringify } from "yaml";
import { type RunningProxy, startProxy } from "../../src/cli/compose.ts";
import { parseConfig } from "../../src/config/load.ts";
import { createLog } from "../../src/observe/log.ts";
import { DATABASE, type Stage } from "./stage.ts";

export interface AuthProxy extends RunningProxy {
  /** All that it has logged. */
  logged(): string;
}

/** A pgxa in front of `stage`, with `sections` in its configuration. */
export async function openAuth(stage: Stage, sections: object): Promise<AuthProxy> {
  const text = stringify({ ...(parse(stage.configText) as object), ...sections });
  const pieces: string[] = [];
  const destination = new Writable({
    write(piece: Buffer, _encoding, done) {
      pieces.push(piece.toString());
      done();
    },
  });
  const proxy = await startProxy(parseConfig(text, "pgxa.yaml", {}), {
    log: createLog("debug", destination),
  });
  return { ...proxy, logged: () => pieces.join("") };
}

/** What a query answers to who logs in so; rejects with what the client is told. */
export async function ask(
  port: number,
  login: pg.ClientConfig,
  sql = "SELECT 'in' AS answer",
): Promise<string | undefined> {
  const client = new pg.Client({ host: "127.0.0.1", port, database: DATABASE, ...login });
  client.on("error", () => {});
  try {
    await client.connect();
    const { rows } = await client.query({ text: sql, rowMode: "array" });
    return rows[0]?.[0] as string | undefined;
  } finally {
    await client.end().catch(() => {});
  }
}
