/**
 * When a session comes to rest: outside a transaction, with nothing under way. Whoever has to move or end clients without
 * breaking a transaction of theirs waits for that here; nobody does most of the time, and then it costs one look.
 *
 * A drain ends those who rest, an online restart hands them over. Both may wait at once, and then the first to come is told
 * first.
 */
import type { Session } from "./session.ts";

type Watcher = (session: Session) => void;

export class Rest {
  readonly #watchers = new Set<Watcher>();
  isWatched = false;

  /**
   * Calls for every one of `sessions` that rests now, and for any session when it comes to rest, until what is returned
   * is called.
   */
  watch(sessions: Iterable<Session>, watcher: Watcher): () => void {
    this.#watchers.add(watcher);
    this.isWatched = true;
    for (const session of [...sessions]) if (session.isQuiet) watcher(session);
    return () => {
      this.#watchers.delete(watcher);
      this.isWatched = this.#watchers.size > 0;
    };
  }

  /** Something of the session's has ended. */
  note(session: Session): void {
    if (!session.isQuiet) return;
    for (const watcher of [...this.#watchers]) watcher(session);
  }
}
