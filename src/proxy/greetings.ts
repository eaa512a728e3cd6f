/**
 * What a client is told at login: the parameters as a shard reports them under the client's own settings.
 *
 * A shard is asked once for each set of settings, so that the values are the server's own (normalised names of
 * encodings and time zones), and a setting that the server refuses is refused at login, as Postgres does. Of the two
 * that nearly every client sends it is known what the server makes of them; so an ordinary client is let in without a
 * server connection. What changes on a shard later is told with the first lease.
 */
import { Fault } from "../base/fault.ts";
import { NOBODY } from "../pool/nobody.ts";
import type { Pool } from "../pool/pool.ts";
import { applySettings, settingsOf } from "../pool/settings.ts";
import type { ClientParameters } from "./clientParameters.ts";
import { Greeting } from "./greeting.ts";

/** How many sets of settings are remembered; the oldest go first. */
const GREETINGS_MAX = 1_000;
const ASK_TIMEOUT_MS = 10_000;
/** With these another shard may answer. */
const OUT_OF_REACH: ReadonlySet<string> = new Set([
  "pool.shard_down",
  "pool.no_primary",
  "pool.connect_failed",
  "pool.connection_lost",
]);
/** An application name that the server reports as it was given: printable ASCII, not cut. */
const PLAIN_NAME = /^[ -~]{0,63}$/;
const UTF8_NAME = /^'?utf-?8'?$/i;

export class Greetings {
  readonly #pools: readonly Pool[];
  readonly #known = new Map<string, ReadonlyMap<string, string>>();
  /** Those that were given, by all that the startup packet sets. */
  readonly #given = new Map<string, Greeting>();
  /** Questions that are out; clients that come meanwhile wait for the same answer. */
  readonly #asking = new Map<string, Promise<ReadonlyMap<string, string>>>();

  /** One of each shard: all report alike, and any that is there is asked. */
  constructor(pools: readonly Pool[]) {
    this.#pools = pools;
  }

  /** Of a client whose settings are those that it came with. Rejects with a Refusal: no shard to ask, or settings that it refuses. */
  of({ startup, settings: all }: ClientParameters): Greeting | Promise<Greeting> {
    const given = this.#given.get(all);
    if (given !== undefined) return given;
    const { known, others } = split(startup);
    const settings = settingsOf(others);
    const give = (greeting: ReadonlyMap<string, string>): Greeting =>
      keep(this.#given, all, new Greeting(new Map([...greeting, ...known])));
    const greeting = this.#known.get(settings);
    return greeting === undefined ? this.#askOnce(settings).then(give) : give(greeting);
  }

  #askOnce(settings: string): Promise<ReadonlyMap<string, string>> {
    const asking =
      this.#asking.get(settings) ?? this.#ask(settings).finally(() => this.#asking.delete(settings));
    this.#asking.set(settings, asking);
    return asking;
  }

  /** Asks one after the other of those that seem to be there: one that is tried again may turn out to be down still. */
  async #ask(settings: string): Promise<ReadonlyMap<string, string>> {
    const [first, ...others] = this.#pools.filter(({ refusal }) => refusal === null);
    let pool = first ?? this.#pools[0]!;
    for (;;) {
      try {
        return await this.#askOne(pool, settings);
      } catch (error) {
        const next = others.shift();
        if (next === undefined || !(error instanceof Fault) || !OUT_OF_REACH.has(error.id)) throw error;
        pool = next;
      }
    }
  }

  async #askOne(pool: Pool, settings: string): Promise<ReadonlyMap<string, string>> {
    const lease = await pool.checkout(NOBODY, settings);
    try {
      if (lease.settings !== settings) await applySettings(lease, settings, ASK_TIMEOUT_MS);
      return keep(this.#known, settings, new Map(lease.parameters));
    } finally {
      pool.checkIn(lease);
    }
  }
}

function keep<T>(kept: Map<string, T>, settings: string, one: T): T {
  kept.set(settings, one);
  if (kept.size > GREETINGS_MAX) {
    const [oldest] = kept.keys();
    kept.delete(oldest!);
  }
  return one;
}

/** Settings of which the server's report is known, as it reports them, and all others. */
function split(startup: ReadonlyMap<string, string>) {
  const known = new Map<string, string>();
  const others = new Map<string, string>();
  for (const [name, value] of startup) {
    if (name === "application_name" && PLAIN_NAME.test(value)) known.set(name, value);
    else if (name === "client_encoding" && UTF8_NAME.test(value)) known.set(name, "UTF8");
    else others.set(name, value);
  }
  return { known, others };
}
