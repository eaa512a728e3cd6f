// Pure.
/**
 * What the commit case measures: the cells of its table, and who takes part in each.
 *
 * All combinations would take an hour, so a run without options takes a cross through them: every number of clients
 * with two participants, and every number of participants with eight clients; aborts there, too.
 */

export type Flush = "disk" | "slow";
export type Log = "shard" | "file";
export type Kind = "commits" | "aborts";

export interface CommitChoice {
  readonly clients: readonly number[] | null;
  readonly participants: readonly number[] | null;
  readonly logs: readonly Log[];
  readonly flushes: readonly Flush[];
  readonly kinds: readonly Kind[];
  /** Every number of clients with every number of participants. */
  readonly isFull: boolean;
  readonly rounds: number;
  readonly seconds: number;
  readonly warmUpSeconds: number;
}

/** One table of the result: who commits, or who aborts, how often. */
export interface Cell {
  readonly kind: Kind;
  readonly participants: number;
  readonly clients: number;
}

export const CLIENTS = [1, 8, 32, 100];
export const PARTICIPANTS = [2, 5, 10];
export const PARTICIPANTS_MAX = 16;
/** Where only one thing varies, the others stay at these. */
export const CLIENTS_USUAL = 8;
export const PARTICIPANTS_USUAL = 2;

/** In the order in which they run: what has the same participants stands together, and shares its proxies. */
export function cellsOf(choice: CommitChoice): readonly Cell[] {
  const participants = choice.participants ?? (choice.clients === null ? PARTICIPANTS : [PARTICIPANTS_USUAL]);
  const clients = choice.clients ?? (choice.participants === null ? CLIENTS : [CLIENTS_USUAL]);
  const isCross = choice.participants === null && choice.clients === null && !choice.isFull;
  return participants.flatMap((count) => cellsOfParticipants(count, clients, isCross, choice));
}

function cellsOfParticipants(
  participants: number,
  clients: readonly number[],
  isCross: boolean,
  { kinds, isFull }: CommitChoice,
): readonly Cell[] {
  const isUsual = participants === PARTICIPANTS_USUAL;
  const committing = clients.filter((count) => !isCross || isUsual || count === CLIENTS_USUAL);
  const aborting = clients.filter((count) => !(isCross || isFull) || count === CLIENTS_USUAL);
  const commits = committing.map((count): Cell => ({ kind: "commits", participants, clients: count }));
  const aborts = aborting.map((count): Cell => ({ kind: "aborts", participants, clients: count }));
  return [
    ...(kinds.includes("commits") ? commits : []),
    ...(kinds.includes("aborts") && (!isCross || isUsual) ? aborts : []),
  ];
}

/** How many take turns in a cell if nothing is left out; for the estimate of the remaining time. */
export function contendersOf({ kind }: Cell, { logs }: CommitChoice): number {
  if (kind === "aborts") return 3 * (1 + logs.length);
  return 1 + 4 + 2 * logs.length + (logs.includes("file") ? 1 : 0);
}
