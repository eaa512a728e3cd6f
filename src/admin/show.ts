// Pure.
/** A table that the console shows: its columns are known before it is asked for, as the extended protocol wants it. */
import type { Column } from "../wire/backendWriters.ts";
import type { Row } from "./consoleTable.ts";
import type { Shown } from "./views.ts";

export interface Show {
  readonly says: string;
  readonly columns: readonly Column[];
  /** Whether it is not for users who may only look. */
  readonly needsAdmin?: boolean;
  rows(sources: Shown): readonly Row[] | Promise<readonly Row[]>;
}
