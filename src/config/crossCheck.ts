// Pure.
/** What is wrong between options that are right by themselves. */
import type { RawConfig, Section } from "./load.ts";
import type { Problem } from "./problems.ts";

export function crossProblems(raw: RawConfig): readonly Problem[] {
  return [
    ...shardProblems(raw),
    ...tableProblems(raw),
    ...userProblems(raw),
    ...poolProblems(raw),
    ...logProblems(raw),
  ];
}

const problem = (path: string, says: string, advice: string): Problem => ({
  path,
  line: 0,
  column: 0,
  says,
  advice,
});

const list = (raw: RawConfig, name: string): readonly Section[] => raw.lists.get(name) ?? [];

function shardProblems(raw: RawConfig): readonly Problem[] {
  const shards = list(raw, "shards");
  if (shards.length === 0)
    return [problem("shards", "is empty", "Name at least one shard: name, host, user.")];
  const places = shards.map((shard) => {
    const database = shard.get("database") ?? raw.root.get("database");
    return `${shard.get("host")}:${shard.get("port")}/${database}`;
  });
  return [
    ...duplicates(shards, "shards", "name"),
    ...places.flatMap((place, i) =>
      places.indexOf(place) === i
        ? []
        : [
            problem(
              `shards[${i}]`,
              `is the same database as shards[${places.indexOf(place)}]: ${place}`,
              "Give each shard a database of its own.",
            ),
          ],
    ),
  ];
}

function tableProblems(raw: RawConfig): readonly Problem[] {
  const shards = new Set(list(raw, "shards").map((shard) => shard.get("name")));
  const problems = list(raw, "tables").flatMap((table, i): readonly Problem[] => {
    const path = `tables[${i}]`;
    const kinds =
      ["key", "shard"].filter((name) => table.has(name)).length + (table.get("reference") === true ? 1 : 0);
    if (kinds !== 1)
      return [
        problem(
          path,
          "has to be exactly one of sharded, reference and single-shard",
          "Give key and key_type, or reference: true, or shard.",
        ),
      ];
    if (table.has("key") !== table.has("key_type"))
      return [problem(path, "needs key and key_type together", "Give both.")];
    const shard = table.get("shard");
    if (shard !== undefined && !shards.has(shard))
      return [
        problem(
          `${path}.shard`,
          `names no shard: ${JSON.stringify(shard)}`,
          `The shards are ${[...shards].join(", ")}.`,
        ),
      ];
    return [];
  });
  return [...problems, ...duplicates(list(raw, "tables"), "tables", "name")];
}

const userProblems = (raw: RawConfig): readonly Problem[] => {
  const users = list(raw, "users");
  const isOpen =
    raw.sections.get("auth")?.get("method") === "trust" ||
    raw.sections.get("auth")?.get("trust_loopback") === true;
  const nobody = users.length === 0 && !isOpen;
  return [
    ...(nobody
      ? [
          problem(
            "users",
            "is empty, so that nobody can log in",
            "Name a user with a password, or set auth.method to trust.",
          ),
        ]
      : []),
    ...duplicates(users, "users", "name"),
  ];
};

function poolProblems(raw: RawConfig): readonly Problem[] {
  const pool = raw.sections.get("pool");
  const [min, max] = [Number(pool?.get("min")), Number(pool?.get("max"))];
  return min > max
    ? [problem("pool.min", `is ${min}, more than pool.max, which is ${max}`, "Lower it, or raise pool.max.")]
    : [];
}

function logProblems(raw: RawConfig): readonly Problem[] {
  const isNeeded = list(raw, "shards").length > 1 && !raw.sections.get("transaction")?.has("log_directory");
  return isNeeded
    ? [
        problem(
          "transaction.log_directory",
          "is missing, and there are several shards",
          "Give a directory on a durable disk, which pgxa alone uses.",
        ),
      ]
    : [];
}

function duplicates(entries: readonly Section[], path: string, name: string): readonly Problem[] {
  const values = entries.map((entry) => entry.get(name));
  return values.flatMap((value, i) =>
    values.indexOf(value) === i
      ? []
      : [problem(`${path}[${i}].${name}`, `is there twice: ${JSON.stringify(value)}`, "Give each its own.")],
  );
}
