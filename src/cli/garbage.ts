/**
 * How V8 collects garbage in a process that serves clients.
 *
 * Young objects are usually collected by several threads together, and the one that serves clients waits for all of
 * them. What pgxa leaves alive is so little that it is done sooner alone, and where Postgres or the application uses
 * the other processors, the helpers do not even get to run: with both of two processors busy, 64 clients on 20
 * connections, a collection took 10 to 35 ms with helpers and 3 to 5 ms mostly without.
 */
import { setFlagsFromString } from "node:v8";

/** From now on the thread that serves clients waits for no other to collect young objects. */
export const collectYoungAlone = (): void => setFlagsFromString("--no-parallel-scavenge");
