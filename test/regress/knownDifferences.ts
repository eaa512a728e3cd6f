// Pure.
/**
 * Lines that differ through any pooler, and why: what a server connection keeps, or lacks, because others use it too.
 *
 * A difference counts as known only if each of its lines is. A file that comes to differ in anything else is told of.
 */
export interface KnownDifference {
  readonly mode: "session" | "transaction";
  readonly test: string;
  /** Matches the lines of a unified diff, sign included. */
  readonly lines: RegExp;
  readonly why: string;
}

export const KNOWN_DIFFERENCES: readonly KnownDifference[] = [
  {
    mode: "session",
    test: "guc",
    lines: /plpgsql/,
    why: "a connection that somebody used before has plpgsql loaded",
  },
  {
    mode: "session",
    test: "temp",
    lines: /^-ERROR: {2}cannot PREPARE a transaction that has operated on temporary objects$/,
    why: "a connection that somebody used before has its temporary schema made",
  },
  { mode: "session", test: "stats", lines: /^[-+] [tf]$/, why: "pg_stat_database counts no new session" },
  {
    mode: "transaction",
    test: "guc",
    lines: /plpgsql/,
    why: "a connection that somebody used before has plpgsql loaded",
  },
  {
    mode: "transaction",
    test: "stats",
    lines: /^[-+] ([tf]| *\d+|trunc_stats_test\d? .*)$/,
    why: "pg_stat_database counts no new session; statistics wait in the connection where they arose",
  },
  {
    mode: "transaction",
    test: "constraints",
    lines: /insert_seq|check failed|insert_tbl|\(\d rows\)|^[-+] +\| +\| $|^[-+] \w+ \| +\d+$/,
    why: "currval() is known to the connection that called nextval()",
  },
  {
    mode: "transaction",
    test: "triggers",
    lines: /check_f?keys2?_|check_pkeys_|update fkeys set|delete from fkeys2|tuple references/,
    why: "contrib/spi's check_foreign_key keeps the values of a connection's first call in its plan",
  },
];

/** Why all `lines` of a diff are known, or null if one is not. */
export function whyKnown(mode: string, test: string, lines: readonly string[]): string | null {
  const known = KNOWN_DIFFERENCES.find((entry) => entry.mode === mode && entry.test === test);
  return known !== undefined && lines.every((line) => known.lines.test(line)) ? known.why : null;
}
