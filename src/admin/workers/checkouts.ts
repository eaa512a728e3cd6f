// Pure.
/** How long pools took to give connections, apart from the pools: what a worker has counted outlives its pools. */
import type { Buckets } from "../../observe/buckets.ts";
import type { DatabaseView, PoolView } from "../views.ts";

export interface Checkouts {
  readonly database: string;
  /** As poolKey has it. */
  readonly pool: string;
  readonly checkout: Buckets;
}

/** What names the same pool in every worker: a shard's primary may be another now, one of its standbys may not. */
export const poolKey = ({ shard, role, host, port, database, user }: PoolView): string =>
  JSON.stringify([shard, role === undefined ? [] : [host, port], database, user]);

export const checkoutsOf = (databases: readonly DatabaseView[]): readonly Checkouts[] =>
  databases.flatMap(({ name, pools }) =>
    pools.map((pool) => ({ database: name, pool: poolKey(pool), checkout: pool.checkout })),
  );

/** `databases` with what all their pools ever took. */
export function withCheckouts(
  databases: readonly DatabaseView[],
  checkouts: readonly Checkouts[],
): readonly DatabaseView[] {
  const known = new Map(
    checkouts.map(({ database, pool, checkout }) => [`${database} ${pool}`, checkout] as const),
  );
  return databases.map((database) => ({
    ...database,
    pools: database.pools.map((pool) => ({
      ...pool,
      checkout: known.get(`${database.name} ${poolKey(pool)}`) ?? pool.checkout,
    })),
  }));
}
