/** Which of the connections that nobody holds is lent next. */
import type { ServerConnection } from "./serverConnection.ts";

/** The warmest, and among those with `settings` if there are any: another has to be brought to them first. */
export function takeParked(parked: ServerConnection[], settings: string): ServerConnection | undefined {
  const last = parked.length - 1;
  for (let i = last; i >= 0; i -= 1) {
    if (parked[i]!.settings === settings) return i === last ? parked.pop() : parked.splice(i, 1)[0];
  }
  return parked.pop();
}
