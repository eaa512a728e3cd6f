// Pure.
/**
 * What is wrong between options that are right by themselves.
 *
 * An option that is wrong has no value here; a check that needs it says nothing then, for that problem is named
 * already.
 */
import { tableName } from "./build.ts";
import type { Problem } from "./problems.ts";
import type { RawConfig, Section } from "./reader.ts";
import type { Value } from "./values.ts";

export type CrossProblem = Pick<Problem, "path" | "says" | "advice">;

/** Every problem of `raw` that more than one option takes part in. */
export function crossProblems(raw: RawConfig): readonly CrossProblem[] {
  return [
    ...shardProblems(raw),
    ...databaseProblems(raw),
    ...tableProblems(raw),
    ...userProblems(raw),
    ...poolProblems(raw),
    ...logProblems(raw),
  ];
}

const problem = (path: string, says: string, advice: string): CrossProblem => ({ path, says, advice });

const list = (raw: RawConfig, name: string): readonly Section[] => raw.lists.get(name) ?? [];

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

function userProblems(raw: RawConfig): readonly CrossProblem[] {
  const users = list(raw, "users");
  const names = users.map((user) => user.get("name"));
  const auth = raw.sections.get("auth");
  const mustProve = auth?.get("method") === "scram-sha-256" && auth.get("trust_loopback") === false;
  const nobody = mustProve && users.length === 0;
  return [
    ...(nobody
      ? [
          problem(
            "users",
            "is empty, so that nobody can log in",
            "Name a user with a password, or trust clients.",
          ),
        ]
      : []),
    ...users.flatMap((user, i) => passwordProblem(user.get("password"), mustProve, `users[${i}]`)),
    ...repeated(names, (i, first) => [
      `users[${i}].name`,
      `is that of users[${first}] too: ${JSON.stringify(names[i])}`,
      "Keep one of them.",
    ]),
  ];
}

/** Both forms are PostgreSQL's: https://www.postgresql.org/docs/current/catalog-pg-authid.html */
const MD5_HASH = /^md5[0-9a-f]{32}$/;
const SCRAM_SECRET = /^SCRAM-SHA-256\$[1-9]\d{0,8}:[A-Za-z0-9+/=]+\$[A-Za-z0-9+/=]{44}:[A-Za-z0-9+/=]{44}$/;

function passwordProblem(
  password: Value | undefined,
  mustProve: boolean,
  path: string,
): readonly CrossProblem[] {
  const advice = "Give the password itself, or the user's SCRAM-SHA-256 secret from pg_authid.";
  if (password === undefined) {
    return mustProve
      ? [problem(`${path}.password`, "is missing, so that this user cannot log in", advice)]
      : [];
  }
  const text = String(password);
  if (MD5_HASH.test(text))
    return [problem(`${path}.password`, "is an md5 hash; SCRAM cannot use it", advice)];
  if (text.startsWith("SCRAM-SHA-256$") && !SCRAM_SECRET.test(text)) {
    return [problem(`${path}.password`, "is a SCRAM-SHA-256 secret that is not whole", advice)];
  }
  return [];
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
  const transaction = raw.sections.get("transaction");
  const isMissing = transaction?.get("log") === "file" && !transaction.has("log_directory");
  if (list(raw, "shards").length < 2 || !isMissing) return [];
  const advice =
    "Give a directory on a durable disk, which pgxa alone uses, or set transaction.log to shard.";
  return [problem("transaction.log_directory", "is missing, and transaction.log is file", advice)];
}

/** A problem for each value that was there before; those that are undefined are not compared. */
function repeated(
  values: readonly unknown[],
  describe: (index: number, first: number) => readonly [path: string, says: string, advice: string],
): readonly CrossProblem[] {
  return values.flatMap((value, i) => {
    const first = values.indexOf(value);
    return value === undefined || first === i ? [] : [problem(...describe(i, first))];
  });
}
