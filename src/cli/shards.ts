/** `pgxa shards init`: prepares the shards for the decision log that lives on them. */
import { loadOrComplain } from "./configFile.ts";
import { readConfigOptions } from "./configOption.ts";
import { makeSchema, scriptFor } from "./shardSchema.ts";

const HELP = `Usage: pgxa shards init --config FILE [--print]

Makes the schema pgxa on every shard: two small tables and a function, which transaction.log: shard needs. Run again
it does nothing. pgxa's role needs CREATE on the database for it, and nothing special afterwards.

Options:
  --config FILE, -c FILE  the YAML file
  --print                 print the SQL for each shard and run nothing, for a role that may create the schema
  --help, -h              show this help

Exit code: 0 if every shard is prepared, 1 if one is not, 2 for a wrong command line or configuration.
`;

/** Resolves with the exit code. */
export async function runShards(args: readonly string[]): Promise<number> {
  const [verb, ...rest] = args;
  const isInit = verb === "init";
  const options = readConfigOptions(
    "shards init",
    (isInit ? rest : args).filter((one) => one !== "--print"),
    false,
  );
  if (options.kind === "help") {
    console.log(HELP);
    return 0;
  }
  if (!isInit) {
    console.error("pgxa shards: say what to do: pgxa shards init --config FILE. See pgxa shards --help.");
    return 2;
  }
  if (options.kind === "wrong") {
    console.error(options.says);
    return 2;
  }
  const config = loadOrComplain(options.file)?.config ?? null;
  if (config === null) return 2;
  if (rest.includes("--print")) {
    for (const shard of config.shards)
      console.log(`-- shard ${shard.id}, database ${shard.database}\nBEGIN;${scriptFor(shard)}COMMIT;\n`);
    return 0;
  }
  let code = 0;
  for (const shard of config.shards) {
    try {
      const made = await makeSchema(shard);
      console.log(`shard ${shard.id}: schema pgxa ${made === "made" ? "is made" : "was there"}`);
    } catch (error) {
      code = 1;
      console.error(`shard ${shard.id}: ${explain(error as NodeJS.ErrnoException, shard.user)}`);
    }
  }
  return code;
}

function explain({ code, message }: NodeJS.ErrnoException, user: string): string {
  const reason = message === "" ? String(code) : message;
  if (code !== "42501") return reason;
  return `${reason}\nGRANT CREATE ON DATABASE to ${user} for this once, or let somebody who may run what --print prints.`;
}
