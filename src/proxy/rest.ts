/**
 * When a session comes to rest: outside a transaction, with nothing under way. Whoever has to move or end clients without
 * breaking a transaction of theirs waits for that here; nobody does most of the time, and then it costs one look.
 */
import type { Session } from "./session.ts";

export class Rest {
  /** Is told of every session that comes to rest. */
  listener: ((session: Session) => void) | null = null;

  /** Calls for every one of `sessions` that rests now, and for the others when they do. */
  watch(sessions: Iterable<Session>, listener: (session: Session) => void): void {
    this.listener = listener;
    for (const session of [...sessions]) if (session.isQuiet) listener(session);
  }
}
