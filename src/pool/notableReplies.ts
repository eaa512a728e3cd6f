// Pure.
/** Which messages of a shard the reply reader looks at on their way to the client; all others are passed on by their headers. */
import { SERVER_MESSAGE } from "../wire/messageTypes.ts";

/** The types that are looked at within the client's own groups. */
export const NOTABLE = new Uint8Array(256);
for (const type of [
  SERVER_MESSAGE.readyForQuery,
  SERVER_MESSAGE.errorResponse,
  SERVER_MESSAGE.parameterStatus,
  SERVER_MESSAGE.parseComplete,
  SERVER_MESSAGE.closeComplete,
  SERVER_MESSAGE.notificationResponse,
  SERVER_MESSAGE.copyInResponse,
  SERVER_MESSAGE.parameterDescription,
]) {
  NOTABLE[type] = 1;
}
