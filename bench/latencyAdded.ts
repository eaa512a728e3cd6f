// Pure.
/** How much later a lone client has its answer because a proxy stands in between: the difference to Postgres directly. */
import type { Row } from "./stats.ts";

export interface AddedLatency {
  readonly case: string;
  readonly contender: string;
  /** Of the median, in µs. */
  readonly addedUs: number;
  /** Divided by what PgBouncer adds; null where that was not measured, or is nothing. */
  readonly toPgbouncer: number | null;
}

const US_PER_MS = 1000;

/** For each case of one client that Postgres ran directly, too. */
export function addedLatencies(rows: readonly Row[]): readonly AddedLatency[] {
  const direct = rows.filter((row) => row.clients === 1 && row.contender === "direct");
  return direct.flatMap((base) => {
    const proxied = rows.filter((row) => row.case === base.case && row.contender !== "direct");
    const added = (row: Row) => (row.p50Ms - base.p50Ms) * US_PER_MS;
    const bouncer = proxied.find((row) => row.contender === "pgbouncer");
    const reference = bouncer === undefined ? 0 : added(bouncer);
    return proxied.map((row) => ({
      case: base.case,
      contender: row.contender,
      addedUs: Math.round(added(row)),
      toPgbouncer: reference > 0 ? Number((added(row) / reference).toFixed(2)) : null,
    }));
  });
}

/** The rows of a table, its head first. */
export function addedRows(added: readonly AddedLatency[]): readonly (readonly string[])[] {
  return [
    ["case", "contender", "added to p50 µs", "to PgBouncer's"],
    ...added.map((one) => [one.case, one.contender, String(one.addedUs), one.toPgbouncer?.toFixed(2) ?? ""]),
  ];
}
