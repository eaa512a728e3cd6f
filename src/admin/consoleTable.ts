/** What the console's tables are made of: typed columns, values in text format. */
import type { Column } from "../wire/backendWriters.ts";

export type Value = string | null;
export type Row = readonly Value[];

/** pg_type's oids. */
export const TYPE = {
  bool: 16,
  int8: 20,
  int4: 23,
  text: 25,
  json: 114,
  timestamptz: 1184,
  numeric: 1700,
} as const;

/** Columns by a text such as `name:text size:int4`; without a type it is that of the one before. */
export function columns(text: string): readonly Column[] {
  let type: keyof typeof TYPE = "text";
  return text.split(/\s+/).map((part) => {
    const [name = "", given] = part.split(":");
    if (given !== undefined) type = given as keyof typeof TYPE;
    return { name, typeOid: TYPE[type] };
  });
}

export type Cell = string | number | boolean | null;

/** A row of cells: whole numbers, booleans as PostgreSQL writes them. */
export const row = (...cells: readonly Cell[]): Row =>
  cells.map((cell) => {
    if (cell === null) return null;
    if (typeof cell === "boolean") return cell ? "t" : "f";
    return typeof cell === "number" ? String(Math.round(cell)) : cell;
  });

/** As PgBouncer writes times. */
export const utcTime = (wallMs: number): string =>
  `${new Date(wallMs).toISOString().slice(0, 19).replace("T", " ")} UTC`;

/** As PostgreSQL writes them in UTC. */
export const timestamp = (wallMs: number): string =>
  new Date(wallMs).toISOString().replace("T", " ").replace("Z", "+00");
