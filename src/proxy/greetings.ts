/**
 * What a client is told at login: the parameters as a shard reports them under the client's own settings.
 *
 * A shard is asked once for each set of settings, so that the values are the server's own (normalised names of
 * encodings and time zones), and a setting that the server refuses is refused at login, as Postgres does. What
 * changes on a shard later is told with the first lease.
 */
import type { Pool } from "../pool/pool.ts";
import { NOBODY } from "./abandonedLease.ts";
import type { ClientParameters } from "./clientParameters.ts";

/** How many sets of settings are remembered; the oldest go first. */
const GREETINGS_MAX = 1_000;

export class Greetings {
  readonly #pool: Pool;
  readonly #known = new Map<string, ReadonlyMap<string, string>>();

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** Rejects with a Refusal: no shard to ask, or settings that it refuses. */
  async of(client: ClientParameters): Promise<ReadonlyMap<string, string>> {
    return this.#known.get(client.settings) ?? (await this.#ask(client));
  }

  async #ask(client: ClientParameters): Promise<ReadonlyMap<string, string>> {
    const lease = await this.#pool.checkout(NOBODY);
    try {
      if (!client.isInForceOn(lease)) await client.apply(lease);
      return this.#keep(client.settings, new Map(lease.parameters));
    } finally {
      this.#pool.checkIn(lease);
    }
  }

  #keep(settings: string, greeting: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
    this.#known.set(settings, greeting);
    if (this.#known.size > GREETINGS_MAX) {
      const [oldest] = this.#known.keys();
      this.#known.delete(oldest!);
    }
    return greeting;
  }
}
