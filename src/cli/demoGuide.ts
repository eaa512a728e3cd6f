// Pure.
/**
 * What the demo tells its user: where everything is, and what to type next.
 *
 * Every line is concrete, so that it can be pasted: the accounts named do live on different shards, the ports and
 * the pid are the running ones.
 */
import type { ShardId } from "../base/brands.ts";

export interface DemoFacts {
  readonly port: number;
  readonly pid: number;
  /** The configuration that the demo wrote. */
  readonly configFile: string;
  readonly logFile: string;
  /** Whether psql is installed. */
  readonly hasPsql: boolean;
  /** What starts the demo again with the same options. */
  readonly startCommand: string;
  readonly shards: readonly {
    readonly id: ShardId;
    readonly port: number;
    /** The ids of its accounts. */
    readonly accounts: readonly number[];
  }[];
}

export function demoGuide(facts: DemoFacts): string {
  const isSharded = facts.shards.length > 1;
  const steps = isSharded ? [transfer, watch, crash, refused] : [statement];
  const numbered = steps.map((step, i) => `${i + 1}. ${step(facts)}`);
  return [headline(facts), connect(facts), ...numbered, "Ctrl-C stops everything. The data stays."].join(
    "\n\n",
  );
}

const psql = (port: number): string => `psql -h 127.0.0.1 -p ${port} -U postgres bank`;

const indent = (lines: readonly string[]): string => lines.map((line) => `     ${line}`).join("\n");

function headline({ shards, port, configFile }: DemoFacts): string {
  const width = Math.max(...shards.map((shard) => shard.id.length));
  const rows = shards.map(
    ({ id, port, accounts }) => `${id.padEnd(width)}  127.0.0.1:${port}  ${accounts.length} accounts`,
  );
  const over = shards.length === 1 ? "1 shard" : `${shards.length} shards`;
  return `pgxa is up on 127.0.0.1:${port}: one Postgres over ${over} (${configFile})\n\n${indent(rows)}`;
}

function connect({ port, hasPsql }: DemoFacts): string {
  const how = "Open a second terminal and connect, with psql or any Postgres driver";
  const where = hasPsql ? "" : " (psql is not installed here; Debian has it in postgresql-client)";
  return `${how}${where}:\n\n${indent([psql(port)])}`;
}

function statement(): string {
  const sql = ["SELECT * FROM accounts WHERE id = 1;", "SELECT sum(balance) FROM accounts;"];
  return `Use it like any Postgres:\n\n${indent(sql)}`;
}

function transfer({ shards: [one, other] }: DemoFacts): string {
  const [from, to] = [one!.accounts[0]!, other!.accounts[0]!];
  const sql = [
    "BEGIN;",
    `UPDATE accounts SET balance = balance - 25 WHERE id = ${from};`,
    `UPDATE accounts SET balance = balance + 25 WHERE id = ${to};`,
    "COMMIT;",
  ];
  const where = `account ${from} is on ${one!.id}, account ${to} on ${other!.id}`;
  return `Move money between two shards (${where}):\n\n${indent(sql)}`;
}

function watch({ shards, port }: DemoFacts): string {
  const commands = [
    `npx node examples/bank/transfers.ts --port ${port} --shards ${shards.map(({ id }) => id).join(",")} --seconds 60`,
    `npx node examples/bank/watch.ts --ports ${shards.map((shard) => shard.port).join(",")}`,
  ];
  const what = [
    "Watch the two-phase commit, each in a terminal of its own: transfers by 16 clients, and",
    "   what is prepared on the shards at this moment:",
  ];
  return `${what.join("\n")}\n\n${indent(commands)}`;
}

function crash({ pid, startCommand, logFile }: DemoFacts): string {
  const what = [
    "Kill it while the transfers run. The shards live on, with transactions prepared on",
    "   them; started again, pgxa settles each of them and says so:",
  ];
  return `${what.join("\n")}\n\n${indent([`kill -9 ${pid}`, startCommand, `grep resolver.resolved ${logFile}`])}`;
}

function refused({ shards: [shard] }: DemoFacts): string {
  const sql = [
    "SELECT sum(balance) FROM accounts;",
    `/* pgxa: shard=${shard!.id} */ SELECT sum(balance) FROM accounts;`,
  ];
  const what = "What pgxa cannot do correctly it refuses, and says what to write instead:";
  return `${what}\n\n${indent(sql)}`;
}
