// Pure.
/**
 * The fields of an ErrorResponse or NoticeResponse.
 * https://www.postgresql.org/docs/current/protocol-error-fields.html
 */
export interface ErrorFields {
  /** The severity as the server's language has it, and never translated (`V`, 9.6+). */
  readonly severity: string;
  readonly sqlstate: string;
  readonly message: string;
  readonly detail?: string;
  readonly hint?: string;
  /** 1-based character position in the statement. */
  readonly position?: number;
  /** All other fields by their type byte, as they came. */
  readonly rest?: ReadonlyMap<string, string>;
}
