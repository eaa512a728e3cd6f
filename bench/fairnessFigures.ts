// Pure.
/** What the fairness case found, and its words. */

export interface TenantFigures {
  readonly contender: string;
  readonly tenant: string;
  readonly clients: number;
  readonly transactions: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

export interface FairnessFigures {
  readonly poolSize: number;
  readonly statementMs: number;
  readonly seconds: number;
  readonly tenants: readonly TenantFigures[];
}

/** The rows of a table, its head first. */
export function tenantRows({ tenants }: FairnessFigures): readonly (readonly string[])[] {
  const head = ["contender", "tenant", "clients", "transactions", "p50 ms", "p95 ms", "p99 ms", "max ms"];
  return [
    head,
    ...tenants.map(({ contender, tenant, clients, transactions, p50Ms, p95Ms, p99Ms, maxMs }) => [
      contender,
      tenant,
      String(clients),
      String(transactions),
      ...[p50Ms, p95Ms, p99Ms, maxMs].map((value) => value.toFixed(1)),
    ]),
  ];
}

export const fairnessWords = ({ poolSize, statementMs, seconds }: FairnessFigures): string =>
  `Two tenants share ${poolSize} server connections, and each of their clients sends one statement after the other for ` +
  `${seconds} s. From sending a statement to its answer, of which the statement itself takes ${statementMs} ms.`;
