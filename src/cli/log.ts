/** `pgxa log`: looks at the decision log of files, and cleans up one whose process is gone. */
import { stat } from "node:fs/promises";
import { parseArgs } from "node:util";
import { Fault } from "../base/fault.ts";
import { nearest } from "../config/problems.ts";
import { silentLog } from "../observe/log.ts";
import { FileLog } from "../txn/fileLog/fileLog.ts";
import { explain, loadOrComplain } from "./configFile.ts";
import { type LogContents, readLogs } from "./logContents.ts";
import { renderDump, renderVerdict, sizeOf } from "./logReport.ts";
import { systemEnvironment } from "./systemEnvironment.ts";

const HELP = `Usage: pgxa log dump|verify|compact [--config FILE | DIRECTORY] [--json]

Looks at a decision log of files: transaction.log_directory of FILE, or DIRECTORY, with those of heirs below it: the other
workers, and processes of an online restart.

  dump     every frame in plain words: segment, offset, epoch, which commits were decided, and which are concluded
  verify   checks every segment and frame, and says what damage means; nothing is changed
  compact  writes all commits that are not concluded into a new segment and removes the others, as every start of pgxa
           does; refused while a process owns the log, which does it by itself

Options:
  --config FILE, -c FILE  the YAML file
  --json                  dump and verify: as JSON, for scripts
  --help, -h              show this help

Exit code: 0 if all is well, 1 if something is damaged or was refused, 2 for a wrong command line or configuration.
`;

const VERBS = ["dump", "verify", "compact"] as const;
type Verb = (typeof VERBS)[number];

interface Options {
  readonly verb: Verb;
  readonly directory: string;
  readonly isJson: boolean;
}

/** Resolves with the exit code. */
export async function runLog(args: readonly string[]): Promise<number> {
  const options = readLogOptions(args);
  if (typeof options === "string") {
    console.error(options);
    return 2;
  }
  if (options === null) {
    console.log(HELP);
    return 0;
  }
  const directory = options.directory === "" ? null : options.directory;
  if (directory === null) return 2;
  const wrong = await whyNoDirectory(directory);
  if (wrong !== null) {
    console.error(`pgxa log ${options.verb}: ${wrong}`);
    return 2;
  }
  if (options.verb === "compact") return compact(directory);
  const logs = await readLogs(directory);
  if (options.verb === "dump") console.log(renderDump(logs, options.isJson));
  else console.log(renderVerdict(logs, options.isJson));
  return options.verb === "verify" && logs.some(isDamaged) ? 1 : 0;
}

/** Null: help is asked for. A string: what is wrong. A directory that is empty: said already. */
export function readLogOptions(args: readonly string[]): Options | string | null {
  const { values, positionals, tokens } = parseArgs({
    args: [...args],
    options: {
      config: { type: "string", short: "c" },
      json: { type: "boolean" },
      help: { type: "boolean", short: "h" },
    },
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  if (values.help === true) return null;
  const see = "See pgxa log --help.";
  const unknown = tokens.find(
    (one) => one.kind === "option" && !["config", "json", "help"].includes(one.name),
  );
  if (unknown?.kind === "option") return `pgxa log: there is no option ${unknown.rawName}. ${see}`;
  const [word, given, tooMany] = positionals;
  const verb = VERBS.find((one) => one === word);
  if (verb === undefined) {
    const meant = word === undefined ? null : nearest(word, VERBS);
    return meant === null
      ? `pgxa log: say what to do: dump, verify or compact. ${see}`
      : `pgxa log: there is no ${word}. Did you mean ${meant}?`;
  }
  if (tooMany !== undefined) return `pgxa log ${verb}: "${tooMany}" is one word too many. ${see}`;
  if ("json" in values && verb === "compact")
    return `pgxa log compact: --json is for dump and verify. ${see}`;
  if ("config" in values === (given !== undefined)) {
    return `pgxa log ${verb} needs --config FILE or a DIRECTORY${given === undefined ? "" : ", not both"}. ${see}`;
  }
  if (given !== undefined) return { verb, directory: given, isJson: "json" in values };
  if (typeof values.config !== "string" || values.config === "") {
    return `pgxa log ${verb}: --config needs a file's name. ${see}`;
  }
  return fromConfig(verb, values.config, "json" in values);
}

function fromConfig(verb: Verb, file: string, isJson: boolean): Options | string {
  const config = loadOrComplain(file)?.config;
  if (config === undefined) return { verb, directory: "", isJson };
  const directory = config.transaction.logDirectory;
  if (directory !== "") return { verb, directory, isJson };
  return `pgxa log ${verb}: ${file} gives no transaction.log_directory: its decisions are on the shards, in pgxa.decision.`;
}

async function whyNoDirectory(directory: string): Promise<string | null> {
  try {
    return (await stat(directory)).isDirectory() ? null : `${directory} is not a directory.`;
  } catch (error) {
    return `${directory}: ${(error as Error).message}`;
  }
}

const isDamaged = ({ reading }: LogContents): boolean => reading.damage.length > 0;

/** A start of the log and its end: that is what compacts it. */
async function compact(directory: string): Promise<number> {
  const before = sizeOf(await readLogs(directory));
  try {
    const log = await FileLog.open({
      directory,
      log: silentLog,
      wallMs: systemEnvironment.clock.wallMs(),
      faultPoint() {},
    });
    const count = log.unconcluded().length;
    await log.close();
    const after = sizeOf(await readLogs(directory));
    console.log(`${directory}: ${count} commits are not concluded; ${before} bytes before, ${after} now.`);
    return 0;
  } catch (error) {
    console.error(error instanceof Fault ? explain(error) : `${directory}: ${(error as Error).message}`);
    return 1;
  }
}
