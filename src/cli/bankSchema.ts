// Pure.
/**
 * The bank: the schema of the demo, in SQL for the shards and in the words of pgxa's configuration.
 *
 * A transfer is two rows, one for each account, each on its account's shard; that is why its primary key begins
 * with the shard key. Currencies are few and never change: a copy on every shard lets each one check its foreign
 * keys by itself.
 */

export const BANK_DATABASE = "bank";
export const ACCOUNTS = 10_000;
/** In cents, so that sums are exact in any language. */
export const OPENING_BALANCE_CENTS = 100_000;

/** To be run on every shard. */
export const BANK_SCHEMA = `
  DROP TABLE IF EXISTS transfers, accounts, currencies;
  CREATE TABLE currencies (
    code text PRIMARY KEY,
    name text NOT NULL
  );
  CREATE TABLE accounts (
    id int8 PRIMARY KEY,
    owner text NOT NULL,
    balance numeric(15, 2) NOT NULL CHECK (balance >= 0)
  );
  CREATE TABLE transfers (
    account_id int8 NOT NULL REFERENCES accounts,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    amount numeric(15, 2) NOT NULL,
    currency text NOT NULL DEFAULT 'EUR' REFERENCES currencies,
    made_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, id)
  );`;

/** The tables as the configuration file names them. */
export const BANK_TABLES = [
  { name: "accounts", key: "id", key_type: "int8" },
  { name: "transfers", key: "account_id", key_type: "int8" },
  { name: "currencies", reference: true },
] as const;

export const CURRENCIES = [
  ["EUR", "Euro"],
  ["USD", "US dollar"],
  ["JPY", "Yen"],
  ["CHF", "Swiss franc"],
] as const;

const FIRST_NAMES = [
  "Ada",
  "Alan",
  "Barbara",
  "Edgar",
  "Frances",
  "Grace",
  "Jim",
  "Leslie",
  "Michael",
  "Radia",
];
const LAST_NAMES = ["Allen", "Codd", "Gray", "Hopper", "Lamport", "Liskov", "Lovelace", "Perlman", "Turing"];

/** An account's owner: the same on every machine. */
export function ownerOf(id: number): string {
  const first = FIRST_NAMES[id % FIRST_NAMES.length]!;
  const last = LAST_NAMES[Math.floor(id / FIRST_NAMES.length) % LAST_NAMES.length]!;
  return `${first} ${last}`;
}
