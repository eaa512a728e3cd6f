// Pure.
/**
 * What the growth case measures: one thing grows, the others stay as they are.
 *
 * Short rounds, since there are many: the shape of a curve is what to look at, the cases of the usual run have the figures.
 */

export type DimensionName = "clients" | "rows" | "pipelining" | "shards" | "participants";

export interface Dimension {
  readonly name: DimensionName;
  /** What grows, for a title: "how the cost grows with …". */
  readonly what: string;
  /** What grows, below the axis of a picture. */
  readonly axis: string;
  /** What runs. */
  readonly about: string;
  /** What is counted. */
  readonly counted: "transactions" | "selects";
  readonly values: readonly number[];
  /** Whether it grows by factors: then the axis of a picture is logarithmic. */
  readonly growsByFactors: boolean;
  /** How many take turns if nobody is left out; for the estimate of the remaining time. */
  readonly contenders: number;
}

/** Clients where they are not what grows. */
export const CLIENTS = 16;
export const TRANSFER_CLIENTS = 8;

/** Those at the end of the list have shards of their own. */
export const DIMENSIONS: readonly Dimension[] = [
  {
    name: "clients",
    what: "clients",
    axis: "clients",
    about: "a select of one row by its key, simple protocol, 20 server connections",
    counted: "transactions",
    values: [1, 4, 16, 64, 256],
    growsByFactors: true,
    contenders: 2,
  },
  {
    name: "rows",
    what: "the size of a row",
    axis: "size of the row",
    about: `a select that returns one row of that size, simple protocol, ${CLIENTS} clients`,
    counted: "transactions",
    values: [10, 1_000, 10_000, 100_000],
    growsByFactors: true,
    contenders: 2,
  },
  {
    name: "pipelining",
    what: "the depth of pipelining",
    axis: "selects sent before the first answer is awaited",
    about: `selects of one row by its key, extended protocol, ${CLIENTS} clients`,
    counted: "selects",
    values: [1, 4, 16, 64],
    growsByFactors: true,
    contenders: 2,
  },
  {
    name: "shards",
    what: "shards",
    axis: "shards behind pgxa",
    about: `a select of one row, routed by its key, simple protocol, ${CLIENTS} clients`,
    counted: "transactions",
    values: [1, 2, 3, 5],
    growsByFactors: false,
    contenders: 1,
  },
  {
    name: "participants",
    what: "participants",
    axis: "participants of a transaction",
    about: `a transfer that writes one row on each participant, ${TRANSFER_CLIENTS} clients`,
    counted: "transactions",
    values: [2, 3, 5, 10],
    growsByFactors: false,
    contenders: 3,
  },
];

export interface GrowthChoice {
  readonly dimensions: readonly Dimension[];
  readonly rounds: number;
  readonly seconds: number;
  readonly warmUpSeconds: number;
  /** pgbench's scale factor. */
  readonly scale: number;
}

/** The first two values of each: enough to see that all of it works, and for a line. */
export const quickly = (dimensions: readonly Dimension[]): readonly Dimension[] =>
  dimensions.map((one) => ({ ...one, values: one.values.slice(0, 2) }));

/** `64`, or `10 KB`. */
export function valueWords({ name }: Pick<Dimension, "name">, value: number): string {
  if (name !== "rows") return String(value);
  return value < 1_000 ? `${value} B` : `${value / 1_000} KB`;
}
