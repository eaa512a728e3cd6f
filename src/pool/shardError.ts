/** A shard's own ErrorResponse to something pgxa asked, on its way to the client whom it concerns, unchanged. */
import type { ErrorFields } from "../wire/errorFields.ts";

export class ShardError extends Error {
  override readonly name = "ShardError";
  readonly fields: ErrorFields;

  constructor(fields: ErrorFields) {
    super(fields.message);
    this.fields = fields;
  }
}
