// Pure.
/** What the idle case found, and its words. */

export interface IdleFigures {
  readonly contender: string;
  readonly clients: number;
  /** Of the proxy before the first of them came, in MiB. */
  readonly baseMib: number;
  /** What each client adds once it is logged in, in KiB. */
  readonly loggedInKib: number;
  /** The same after it has had one answer. */
  readonly usedKib: number;
}

export const IDLE_WORDS =
  "Resident memory of the proxy's processes. A client logs in and does nothing; then each sends one select, and does nothing again.";

/** The rows of a table, its head first. */
export function idleRows(figures: readonly IdleFigures[]): readonly (readonly string[])[] {
  const head = [
    "contender",
    "clients",
    "without them MiB",
    "each, logged in KiB",
    "each, after a select KiB",
  ];
  return [
    head,
    ...figures.map(({ contender, clients, baseMib, loggedInKib, usedKib }) => [
      contender,
      String(clients),
      ...[baseMib, loggedInKib, usedKib].map((value) => value.toFixed(1)),
    ]),
  ];
}
