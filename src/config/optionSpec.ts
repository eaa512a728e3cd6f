// Pure.
/** What there is to say of an option. */

export type OptionType = "text" | "name" | "integer" | "duration" | "size" | "boolean" | "choice" | "list";

export interface OptionSpec {
  readonly path: string;
  readonly type: OptionType;
  /** What a plain number counts. */
  readonly unit?: string;
  /** Absent: the option must be given, unless `isOptional`. */
  readonly default?: string | number | boolean;
  readonly isOptional?: boolean;
  /** Of numbers, in the unit; both ends belong to the range. */
  readonly min?: number;
  readonly max?: number;
  readonly choices?: readonly string[];
  /** What may stand in the place of an integer. */
  readonly word?: string;
  readonly isSecret?: boolean;
  /** Whether a reload applies a change of it; without this it takes a restart. */
  readonly isLive?: boolean;
  /** One sentence for the reference. */
  readonly says: string;
}

export const MS = "ms";
export const BYTES = "bytes";
export const SECOND = 1_000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;
export const MEGABYTE = 1024 * 1024;
