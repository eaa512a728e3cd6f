#!/usr/bin/env node
/** The `pgxa` command: finds the subcommand, runs it, and ends with its exit code. */
import { readFileSync } from "node:fs";
import { nearest } from "../config/problems.ts";
import { runCheck } from "./check.ts";
import { runDemo } from "./demo.ts";
import { runImportPgbouncer } from "./importPgbouncer.ts";
import { runLog } from "./log.ts";
import { runResolve } from "./resolve.ts";
import { runShards } from "./shards.ts";
import { runUp } from "./up.ts";

const HELP = `pgxa: one Postgres in front of many, with transactions over all of them.

Usage: pgxa COMMAND [OPTIONS]

Commands:
  demo                   start a small bank on Postgres shards of its own, to try things out
  up --config FILE       run on your own shards
  check --config FILE    validate the file and ask every shard whether it is fit
  shards init --config FILE
                         prepare the shards for transaction.log: shard
  resolve GTRID commit|rollback --config FILE
                         end a transaction in doubt that pgxa cannot decide
  log dump|verify|compact
                         look at a decision log of files, and clean it up
  import-pgbouncer FILE  make such a file from PgBouncer's
  help [COMMAND]         say more

Options:
  --help, -h             show this help, or that of the command
  --version              show the version
`;

type Command = (args: readonly string[]) => Promise<number>;

const COMMANDS: Readonly<Record<string, Command>> = {
  demo: (args) => (namesConfig(args) ? runUp(args) : runDemo(args)),
  up: runUp,
  check: runCheck,
  "import-pgbouncer": runImportPgbouncer,
  resolve: runResolve,
  log: runLog,
  shards: runShards,
  help,
};

/** `demo --config FILE` is `up --config FILE`, so that `npm start -- --config FILE` does what it says. */
const namesConfig = (args: readonly string[]): boolean =>
  args.some((argument) => argument === "--config" || argument === "-c" || argument.startsWith("--config="));

function help(args: readonly string[]): Promise<number> {
  const command = COMMANDS[args[0] ?? ""];
  if (command !== undefined && command !== help) return command(["--help"]);
  console.log(HELP);
  return Promise.resolve(0);
}

function version(): string {
  // Both src/cli and dist/cli are two folders below package.json.
  const manifest: { version: string } = JSON.parse(
    readFileSync(new URL("../../package.json", import.meta.url), "utf8"),
  );
  return manifest.version;
}

async function run(argv: readonly string[]): Promise<number> {
  const [name, ...args] = argv;
  if (name === undefined || name === "--help" || name === "-h") return help([]);
  if (name === "--version") {
    console.log(version());
    return 0;
  }
  const command = COMMANDS[name];
  if (command !== undefined) return command(args);
  const isOption = name.startsWith("-");
  const meant = nearest(name, isOption ? ["--help", "--version"] : Object.keys(COMMANDS));
  const advice = meant === null ? "pgxa help lists all there is." : `Did you mean ${meant}?`;
  console.error(`pgxa: there is no ${isOption ? "option" : "command"} ${name}. ${advice}`);
  return 2;
}

process.exitCode = await run(process.argv.slice(2));
