// Pure.
/** How an entry of the error catalogue is written. */
import type { FaultSpec } from "./fault.ts";

export const spec = (
  sqlstate: string,
  severity: FaultSpec["severity"],
  scope: FaultSpec["scope"],
  blame: FaultSpec["blame"],
  message: string,
  hint?: string,
): FaultSpec => ({ sqlstate, severity, scope, blame, message, ...(hint === undefined ? {} : { hint }) });
