// Pure.
/** What pgxa is known not to pass although it passes directly, each with the reason. */

export interface Known {
  readonly application: string;
  readonly check: string;
  readonly reason: string;
}

const UNSEEN =
  "what a function does is not in the statement's text, which is all that a pooler in transaction mode looks at; pool.mode: session keeps it, and pool.reset: always keeps it from others";

export const KNOWN: readonly Known[] = [
  { application: "pg", check: "what a function sets is no other session's", reason: UNSEEN },
  { application: "pg", check: "what a function sets lasts for its session", reason: UNSEEN },
  { application: "pg", check: "a temporary table that a function makes", reason: UNSEEN },
  {
    application: "pg",
    check: "lastval() after an INSERT",
    reason:
      "lastval() and currval() are the server connection's, which is given back when the transaction ends; INSERT … RETURNING, or both in one transaction",
  },
];

export function reasonFor(application: string, check: string): string | null {
  return KNOWN.find((one) => one.application === application && one.check === check)?.reason ?? null;
}
