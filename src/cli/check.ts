/** `pgxa check`: is the file right, and is every shard fit for what pgxa will do with it? */
import type { Config, ShardConfig } from "../config/config.ts";
import { loadOrComplain } from "./configFile.ts";
import { readConfigOptions } from "./configOption.ts";
import { decisionFindings } from "./decisionFindings.ts";
import { Progress } from "./progress.ts";
import { checkShard, type ShardReport } from "./shardChecks.ts";
import { type Finding, judgeServers, type Verdict } from "./shardFindings.ts";

const HELP = `Usage: pgxa check --config FILE [--json]

Validates FILE and asks every shard: reachable, version, role, room for prepared transactions, encoding, clock, prepared
transactions left over, the schema of a decision log on shards, and the configured tables with the type of their key. It says
whether the decision log is safe where it is.

Options:
  --config FILE, -c FILE  the YAML file
  --json                  the findings as JSON, for scripts
  --help, -h              show this help

Exit code: 0 if nothing failed, 1 if something did, 2 for a wrong command line or configuration.
`;

const MARKS: Readonly<Record<Verdict, string>> = { ok: "✓", warn: "!", fail: "✗" };
const COLOURS: Readonly<Record<Verdict, string>> = {
  ok: "\u001b[32m",
  warn: "\u001b[33m",
  fail: "\u001b[31m",
};
const PLAIN = "\u001b[0m";

/** Resolves with the exit code. */
export async function runCheck(args: readonly string[]): Promise<number> {
  const options = readConfigOptions("check", args, true);
  if (options.kind !== "run") {
    if (options.kind === "help") console.log(HELP);
    else console.error(options.says);
    return options.kind === "help" ? 0 : 2;
  }
  const config = loadOrComplain(options.file)?.config ?? null;
  if (config === null) return 2;
  const reports = await ask(config, options.isJson);
  const decisions = decisionFindings(config);
  const all = [...reports.flatMap(({ findings }) => findings), ...decisions];
  const isFit = all.every(({ verdict }) => verdict !== "fail");
  const hasColour = process.stdout.isTTY === true && process.env.NO_COLOR === undefined;
  if (options.isJson) console.log(JSON.stringify({ ok: isFit, shards: reports, decisions }, null, 2));
  else console.log(render(options.file, reports, hasColour, decisions));
  return isFit ? 0 : 1;
}

function ask(config: Config, isQuiet: boolean): Promise<readonly ShardReport[]> {
  const all = Promise.all(config.shards.map((shard) => askServers(shard, config))).then((all) => all.flat());
  const shards = config.shards.length === 1 ? "1 shard" : `${config.shards.length} shards`;
  return isQuiet ? all : new Progress(process.stderr).step(`asking ${shards}`, () => all);
}

/** A report of each server of `shard`. */
async function askServers(shard: ShardConfig, config: Config): Promise<readonly ShardReport[]> {
  const servers = (shard.hosts ?? [shard]).map(({ host, port }) => ({ ...shard, host, port }));
  const reports = await Promise.all(servers.map((server) => checkShard(server, config)));
  const [first, ...others] = reports;
  const together = judgeServers(reports.map(({ findings }) => findings));
  return [{ ...first!, findings: [...first!.findings, ...together] }, ...others];
}

/** The reports as a table a person can read. */
export function render(
  file: string,
  reports: readonly ShardReport[],
  hasColour: boolean,
  decisions: readonly Finding[] = [],
): string {
  const findings = [...reports.flatMap((report) => report.findings), ...decisions];
  const width = Math.max(...findings.map(({ what }) => what.length));
  const lines = [`${file}: the configuration is valid`];
  for (const { shard, address, findings: own } of reports) {
    lines.push(
      "",
      `shard ${shard}  ${address}`,
      ...own.flatMap((finding) => renderFinding(finding, width, hasColour)),
    );
  }
  if (decisions.length > 0) {
    lines.push(
      "",
      "this machine",
      ...decisions.flatMap((finding) => renderFinding(finding, width, hasColour)),
    );
  }
  return [...lines, "", summary(findings)].join("\n");
}

function renderFinding(
  { what, verdict, says, advice }: Finding,
  width: number,
  hasColour: boolean,
): readonly string[] {
  const mark = hasColour ? `${COLOURS[verdict]}${MARKS[verdict]}${PLAIN}` : MARKS[verdict];
  const line = `  ${mark} ${what.padEnd(width)}  ${says}`;
  return advice === undefined ? [line] : [line, `    ${" ".repeat(width)}  ${advice}`];
}

function summary(findings: readonly Finding[]): string {
  const count = (verdict: Verdict): number =>
    findings.filter((finding) => finding.verdict === verdict).length;
  const [failed, warned] = [count("fail"), count("warn")];
  if (failed > 0) return `${failed} of ${findings.length} checks failed.`;
  return warned > 0 ? `Fit to run, with ${warned} ${warned === 1 ? "warning" : "warnings"}.` : "Fit to run.";
}
