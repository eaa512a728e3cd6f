// Pure.
/**
 * What a scanner's refusal means: a protocol violation of the side that sent the bytes, in Postgres's words. Where
 * only pgxa's own limit is in the way, it says which one to raise.
 */
import { Fault } from "../base/fault.ts";
import type { FrameScanner, Violation } from "./frameScanner.ts";
import { isValidLength, type Side } from "./messageTypes.ts";

const RAISE_LIMIT =
  "Raise limits.message_bytes_max in the configuration of pgxa if messages of this size are meant to pass.";

/** The fault for `violation` of `scanner`, which reads what `sender` sends. */
export function violationFault(sender: Side, scanner: FrameScanner, violation: Violation): Fault {
  const type = scanner.type;
  if (sender === "server") {
    return new Fault("protocol.server_violation", {
      detail: `The ${violation} of a message was not valid: type ${type}, length ${scanner.length}.`,
    });
  }
  if (violation === "type") {
    return new Fault("protocol.violation", { message: `invalid frontend message type ${type}` });
  }
  const detail = `A message of type "${String.fromCharCode(type)}" announced ${scanner.length - 1} bytes.`;
  return isValidLength(sender, type, scanner.length)
    ? new Fault("protocol.message_too_long", { message: "invalid message length", detail, hint: RAISE_LIMIT })
    : new Fault("protocol.violation", { message: "invalid message length", detail });
}
