// Pure.
/**
 * The transfers that run while things break: between two shards, between three, within one, with readers beside them,
 * with a part that is rolled back to a savepoint, and some that must not come to be.
 *
 * Each leaves a row with its id on every shard it writes, so that every single one can be held against the shards.
 */
import type { SeededRandom } from "../sim/seededRandom.ts";

export interface Step {
  /** Index of the shard that has the account. */
  readonly shard: number;
  readonly account: number;
  readonly amount: number;
}

export interface Transfer {
  readonly id: number;
  readonly steps: readonly Step[];
  /** Said in this order after BEGIN. */
  readonly statements: readonly string[];
  readonly end: "COMMIT" | "ROLLBACK";
  /** Whether it must not be applied, whatever happens: a constraint forbids it, or the client takes it back. */
  readonly isDoomed: boolean;
}

type Kind = "plain" | "three" | "one" | "reading" | "savepoint" | "pledge" | "overdraft" | "rollback";

/** Of a hundred transfers. */
const SHARES: readonly (readonly [Kind, number])[] = [
  ["plain", 54],
  ["three", 12],
  ["one", 8],
  ["reading", 8],
  ["savepoint", 6],
  ["pledge", 6],
  ["overdraft", 3],
  ["rollback", 3],
];
const AMOUNT_MAX = 5;

export interface Bank {
  readonly shardIds: readonly string[];
  /** The ids of each shard's accounts. */
  readonly accounts: readonly (readonly number[])[];
}

export function planTransfer(id: number, bank: Bank, random: SeededRandom): Transfer {
  const kind = pickKind(random);
  const shards = shuffled(bank.shardIds.length, random);
  const writers = kind === "three" ? shards : kind === "one" ? shards.slice(0, 1) : shards.slice(0, 2);
  const steps = stepsOn(writers, bank, random);
  const statements = steps.flatMap((step) => statementsOf(id, step, bank, random));
  const [first] = steps;
  const reader = bank.accounts[shards.at(-1)!]![0]!;
  if (kind === "one" || kind === "reading")
    statements.splice(1, 0, `SELECT FROM accounts WHERE id = ${reader}`);
  if (kind === "savepoint") statements.splice(1, 0, ...takenBack(id, steps.at(-1)!));
  if (kind === "pledge") statements.push(pledge(first!.account));
  if (kind === "overdraft") statements.push(`UPDATE accounts SET balance = -1 WHERE id = ${first!.account}`);
  return {
    id,
    steps,
    statements,
    end: kind === "rollback" ? "ROLLBACK" : "COMMIT",
    isDoomed: kind === "pledge" || kind === "overdraft" || kind === "rollback",
  };
}

function pickKind(random: SeededRandom): Kind {
  let left = random.below(100);
  for (const [kind, share] of SHARES) if ((left -= share) < 0) return kind;
  return "plain";
}

function shuffled(count: number, random: SeededRandom): number[] {
  const all = Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i -= 1) {
    const other = random.below(i + 1);
    [all[i], all[other]] = [all[other]!, all[i]!];
  }
  return all;
}

/** On one shard two accounts of it; the amounts are nothing in sum. */
function stepsOn(writers: readonly number[], bank: Bank, random: SeededRandom): Step[] {
  const shards = writers.length === 1 ? [writers[0]!, writers[0]!] : writers;
  const amount = 1 + random.below(AMOUNT_MAX);
  const steps: Step[] = [];
  for (const [i, shard] of shards.entries()) {
    const isLast = i === shards.length - 1;
    const accounts = bank.accounts[shard]!.filter((one) => steps.every(({ account }) => account !== one));
    steps.push({ shard, account: random.pick(accounts), amount: isLast ? amount * i : -amount });
  }
  return steps;
}

/** As two statements by key, or as one that only a hint can place and of which no text says that it writes. */
function statementsOf(
  id: number,
  { shard, account, amount }: Step,
  bank: Bank,
  random: SeededRandom,
): string[] {
  if (random.chance(0.6))
    return [`/* pgxa: shard=${bank.shardIds[shard]} */ SELECT move(${account}, ${id}, ${amount})`];
  return [
    `UPDATE accounts SET balance = balance + ${amount} WHERE id = ${account}`,
    `INSERT INTO transfers (account_id, id, amount) VALUES (${account}, ${id}, ${amount})`,
  ];
}

/** Rows with a negative id are those that must never be seen. */
const takenBack = (id: number, { account }: Step): string[] => [
  "SAVEPOINT before",
  `INSERT INTO transfers (account_id, id, amount) VALUES (${account}, ${-id}, 0)`,
  "ROLLBACK TO before",
];

/** A deferred constraint, so that it is PREPARE or COMMIT that fails. */
const pledge = (account: number): string =>
  `INSERT INTO pledges (account_id, sponsor) VALUES (${account}, -1)`;
