/** What `pgxa check` says of the decision log: whether it is safe where pgxa runs, and whether a shard is ready for it. */
import { statfsSync } from "node:fs";
import { dirname } from "node:path";
import type { Client } from "pg";
import type { Config } from "../config/config.ts";
import { SCHEMA_VERSION } from "../txn/shardLog/schema.ts";
import { type Finding, fail, ok, warn } from "./shardFindings.ts";
import { installedVersion } from "./shardSchema.ts";

const WHAT = "decision log";

/** From statfs(2). */
const MEMORY = new Set([0x01021994, 0x858458f6]);
const OVERLAY = 0x794c7630;
/** NFS, CIFS, SMB 2. */
const NETWORK = new Set([0x6969, 0xff534d42, 0xfe534d42]);

/** Of this machine; nothing where one shard needs no decisions. */
export function decisionFindings({ shards, transaction }: Config): readonly Finding[] {
  if (shards.length < 2) return [];
  if (transaction.log === "shard") {
    return [
      ok(WHAT, "on the shards: nothing of it is on this machine, and any pgxa of the fleet can recover"),
    ];
  }
  const place = judgeDirectory(transaction.logDirectory, filesystemOf(transaction.logDirectory));
  return [place, ...judgeSync(transaction.sync)];
}

/** What is worth saying of transaction.sync. */
export function judgeSync(sync: Config["transaction"]["sync"]): readonly Finding[] {
  if (sync !== "none") return [];
  const says =
    "transaction.sync is none: when this machine stops, decided commits are lost and shards disagree";
  return [warn(WHAT, says, "Set transaction.sync to fdatasync, unless the data may be lost.")];
}

/** `type`: that of the file system, by statfs; null if it cannot be told. */
export function judgeDirectory(directory: string, type: number | null): Finding {
  const says = `in files of ${directory}`;
  const advice = "Give a directory on a durable disk, or set transaction.log to shard, which needs none.";
  if (type !== null && MEMORY.has(type)) {
    return fail(WHAT, `${says}, which is in memory: lost at a restart, with what is in doubt then`, advice);
  }
  if (type === OVERLAY)
    return warn(WHAT, `${says}, in a container's own layer: gone with the container`, advice);
  if (type !== null && NETWORK.has(type)) {
    const risk = "on a network's file system: a pgxa on another machine that uses it, too, is not noticed";
    return warn(
      WHAT,
      `${says}, ${risk}`,
      "Give a directory on a disk of this machine, or set transaction.log to shard.",
    );
  }
  return ok(WHAT, `${says}, for one pgxa alone, which must find this disk again after a crash`);
}

/** Of the directory, or what will hold it. */
function filesystemOf(directory: string): number | null {
  for (let place = directory; ; place = dirname(place)) {
    try {
      return statfsSync(place).type;
    } catch {
      if (place === dirname(place)) return null;
    }
  }
}

/** Of a shard; nothing if decisions are not made there. */
export async function askSchema(client: Client, { transaction }: Config): Promise<readonly Finding[]> {
  if (transaction.log !== "shard") return [];
  const advice = "Run pgxa shards init --config FILE.";
  const version = await installedVersion(client);
  if (version === null) return [fail(WHAT, "schema pgxa is not there", advice)];
  if (version !== SCHEMA_VERSION) {
    return [fail(WHAT, `schema pgxa is of version ${version}, and ${SCHEMA_VERSION} is needed`, advice)];
  }
  const { rows } = await client.query(
    "SELECT has_table_privilege('pgxa.decision', 'INSERT, SELECT, UPDATE, DELETE') AS may",
  );
  const grant = "Run pgxa shards init --print, and its GRANTs on the shard.";
  if (rows[0]?.may !== true) return [fail(WHAT, "no rights on schema pgxa", grant)];
  return [ok(WHAT, `schema pgxa, version ${version}`)];
}
