// Pure.
/**
 * What is wrong between options that are right by themselves.
 *
 * An option that is wrong has no value here; a check that needs it says nothing then, for that problem is named
 * already.
 */
import { userProblems } from "./authCheck.ts";
import { tableName } from "./build.ts";
import { type CrossProblem, list, problem, repeated } from "./crossProblem.ts";
import type { RawConfig, Section } from "./reader.ts";
import { tlsProblems } from "./tlsCheck.ts";
import type { Value } from "./values.ts";

/** Every problem of `raw` that more than one option takes part in. */
export function crossProblems(raw: RawConfig): readonly CrossProblem[] {
  return [
    ...shardProblems(raw),
    ...databaseProblems(raw),
    ...tableProblems(raw),
    ...userProblems(raw),
    ...poolProblems(raw),
    ...logProblems(raw),
    ...tlsProblems(raw),
  ];
}

function shardProblems(raw: RawConfig): readonly CrossProblem[] {
  const shards = list(raw, "shards");
  if (shards.length === 0)
    return [problem("shards", "is empty", "Name at least one shard: name, host, user.")];
  const places = shards.map((shard) => {
    const [host, port] = [shard.get("host"), shard.get("port")];
    const database = shard.get("database") ?? raw.root.get("database");
    return host === undefined || port === undefined ? undefined : `${host}:${port}/${database}`;
  });
  const names = shards.map((shard) => shard.get("name"));
  return [
    ...repeated(names, (i, first) => [
      `shards[${i}].name`,
      `is that of shards[${first}] too: ${names[i]}`,
      "Give each shard its own.",
    ]),
    ...repeated(places, (i, first) => [
      `shards[${i}]`,
      `is the same database as shards[${first}]: ${places[i]}`,
      "Give each shard a database of its own.",
    ]),
  ];
}

function databaseProblems(raw: RawConfig): readonly CrossProblem[] {
  const [databases, main] = [list(raw, "databases"), raw.root.get("database")];
  const names = databases.map((database) => database.get("name"));
  const others = names.flatMap((name, i) => (name === undefined || name === main ? [] : [i]));
  const areMany = list(raw, "shards").length > 1;
  return [
    ...(areMany ? others : []).map((i) =>
      problem(
        `databases[${i}]`,
        "is a second database, and there are several shards",
        "Run a pgxa for each.",
      ),
    ),
    ...repeated(names, (i, first) => [
      `databases[${i}].name`,
      `is that of databases[${first}] too: ${JSON.stringify(names[i])}`,
      "Keep one of them.",
    ]),
  ];
}

function tableProblems(raw: RawConfig): readonly CrossProblem[] {
  const tables = list(raw, "tables");
  const shards = new Set(list(raw, "shards").flatMap((shard) => shard.get("name") ?? []));
  const names = tables.map((table) => {
    const name = table.get("name");
    return name === undefined ? undefined : Object.values(tableName(String(name))).join(".");
  });
  return [
    ...tables.flatMap((table, i) => tableProblem(table, `tables[${i}]`, shards)),
    ...repeated(names, (i, first) => [
      `tables[${i}].name`,
      `is the same table as tables[${first}]: ${names[i]}`,
      "Keep one of them.",
    ]),
  ];
}

function tableProblem(table: Section, path: string, shards: ReadonlySet<Value>): readonly CrossProblem[] {
  const [isSharded, isReference] = [
    table.has("key") || table.has("key_type"),
    table.get("reference") === true,
  ];
  const shard = table.get("shard");
  if ([isSharded, isReference, shard !== undefined].filter(Boolean).length !== 1) {
    const advice = "Give key and key_type, or reference: true, or shard.";
    return [problem(path, "has to be exactly one of sharded, reference and single-shard", advice)];
  }
  if (isSharded && !(table.has("key") && table.has("key_type"))) {
    return [problem(path, "needs key and key_type together", "Give both.")];
  }
  if (shard === undefined || shards.has(shard)) return [];
  const advice = `The shards are ${[...shards].join(", ")}.`;
  return [problem(`${path}.shard`, `names no shard: ${JSON.stringify(shard)}`, advice)];
}

function poolProblems(raw: RawConfig): readonly CrossProblem[] {
  const pool = raw.sections.get("pool");
  const [min, max] = [pool?.get("min"), pool?.get("max")];
  if (min === undefined || max === undefined || min <= max) return [];
  return [
    problem("pool.min", `is ${min}, more than pool.max, which is ${max}`, "Lower it, or raise pool.max."),
  ];
}

function logProblems(raw: RawConfig): readonly CrossProblem[] {
  if (list(raw, "shards").length < 2 || raw.sections.get("transaction")?.has("log_directory")) return [];
  const advice = "Give a directory on a durable disk, which pgxa alone uses.";
  return [problem("transaction.log_directory", "is missing, and there are several shards", advice)];
}
