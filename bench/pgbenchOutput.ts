// Pure.
/**
 * Reading what pgbench writes: its closing report and its log of single transactions.
 * https://www.postgresql.org/docs/current/pgbench.html#PGBENCH-PER-TRANSACTION-LOGGING
 */

export interface PgbenchReport {
  readonly transactions: number;
  /** Throughput without the time of connecting, unless each transaction connects anew. */
  readonly tps: number;
}

/** The closing report, or null if the text has none (pgbench gave up before it). */
export function parseReport(text: string): PgbenchReport | null {
  const transactions = /^number of transactions actually processed: (\d+)/m.exec(text)?.[1];
  const tps =
    /^tps = ([\d.]+) \((?:without initial connection time|excluding connections establishing|including reconnection times)\)/m.exec(
      text,
    )?.[1];
  if (transactions === "0") return { transactions: 0, tps: 0 };
  if (transactions === undefined || tps === undefined) return null;
  return { transactions: Number(transactions), tps: Number(tps) };
}

/**
 * The latencies in ms of the transactions in a log.
 *
 * A line is `client transaction time script epoch µs …`; time is in µs, or a word for a transaction that failed.
 */
export function parseLog(text: string): number[] {
  const latenciesMs: number[] = [];
  for (const line of text.split("\n")) {
    const timeUs = Number(line.split(" ", 3)[2]);
    if (line !== "" && Number.isFinite(timeUs)) latenciesMs.push(timeUs / 1000);
  }
  return latenciesMs;
}
