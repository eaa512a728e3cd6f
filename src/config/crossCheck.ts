// Pure.
/**
 * What is wrong between options that are right by themselves.
 *
 * An option that is wrong has no value here; a check that needs it says nothing then, for that problem is named
 * already.
 */
import { userProblems } from "./authCheck.ts";
import { tableName } from "./build.ts";
import type { Endpoint } from "./config.ts";
import { type CrossProblem, list, problem, repeated } from "./crossProblem.ts";
import { readHosts } from "./hosts.ts";
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
    ...healthProblems(raw),
    ...classProblems(raw),
    ...logProblems(raw),
    ...tlsProblems(raw),
  ];
}

function shardProblems(raw: RawConfig): readonly CrossProblem[] {
  const shards = list(raw, "shards");
  if (shards.length === 0)
    return [problem("shards", "is empty", "Name at least one shard: name, host, user.")];
  const places = shards.map((shard) => {
    const database = shard.get("database") ?? raw.root.get("database");
    return placesOf(shard).map(({ host, port }) => `${host}:${port}/${database}`);
  });
  const names = shards.map((shard) => shard.get("name"));
  return [
    ...repeated(names, (i, first) => [
      `shards[${i}].name`,
      `is that of shards[${first}] too: ${names[i]}`,
      "Give each shard its own.",
    ]),
    ...shards.flatMap((shard, i) => hostProblems(shard, `shards[${i}]`)),
    ...places.flatMap((own, i) => {
      const shared = own.find((place) => places.findIndex((other) => other.includes(place)) < i);
      const first = places.findIndex((other) => shared !== undefined && other.includes(shared));
      const says = `is the same database as shards[${first}]: ${shared}`;
      return first < 0 ? [] : [problem(`shards[${i}]`, says, "Give each shard a database of its own.")];
    }),
  ];
}

/** The servers of a shard, as far as they are written right. */
function placesOf(shard: Section): readonly Endpoint[] {
  const [host, hosts, port] = [shard.get("host"), shard.get("hosts"), shard.get("port")];
  if (port === undefined) return [];
  if (hosts !== undefined) return readHosts(String(hosts), Number(port)) ?? [];
  return host === undefined ? [] : [{ host: String(host), port: Number(port) }];
}

function hostProblems(shard: Section, path: string): readonly CrossProblem[] {
  const hosts = shard.get("hosts");
  if (shard.has("host") === (hosts !== undefined)) {
    const says = hosts === undefined ? "has neither host nor hosts" : "has both host and hosts";
    return [problem(`${path}.host`, says, "Give host for one server, hosts for several.")];
  }
  if (hosts === undefined || readHosts(String(hosts), 1) !== null) return [];
  const advice = "Write them as a.example:5432, b.example, [::1]:5433, each once and at most 16.";
  return [problem(`${path}.hosts`, `is no list of hosts: ${JSON.stringify(hosts)}`, advice)];
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

function healthProblems(raw: RawConfig): readonly CrossProblem[] {
  const health = raw.sections.get("health");
  const [min, max] = [health?.get("backoff_min"), health?.get("backoff_max")];
  if (min === undefined || max === undefined || min <= max) return [];
  const says = `is ${min} ms, more than health.backoff_max, which is ${max} ms`;
  return [problem("health.backoff_min", says, "Lower it, or raise health.backoff_max.")];
}

function classProblems(raw: RawConfig): readonly CrossProblem[] {
  const classes = list(raw, "classes");
  const names = classes.map((one) => one.get("name"));
  const matchers = ["user", "database", "application_name"];
  const unmatched = classes.flatMap((one, i) =>
    matchers.some((name) => one.has(name))
      ? []
      : [problem(`classes[${i}]`, "is of no client", `Give at least one of ${matchers.join(", ")}.`)],
  );
  return [
    ...unmatched,
    ...repeated(names, (i, first) => [
      `classes[${i}].name`,
      `is that of classes[${first}] too: ${names[i]}`,
      "Give each class its own.",
    ]),
  ];
}

function logProblems(raw: RawConfig): readonly CrossProblem[] {
  const transaction = raw.sections.get("transaction");
  const isMissing = transaction?.get("log") === "file" && !transaction.has("log_directory");
  if (list(raw, "shards").length < 2 || !isMissing) return [];
  const advice =
    "Give a directory on a durable disk, which pgxa alone uses, or set transaction.log to shard.";
  return [problem("transaction.log_directory", "is missing, and transaction.log is file", advice)];
}
