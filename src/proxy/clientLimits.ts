/**
 * How many clients may be connected: in all, of a user, of a database, from an address.
 *
 * It is asked about one who has proved who it is, so that nobody else learns how many there are of whom. The console
 * has a few places beyond `limits.clients_max`: who wants to see why nobody gets in must get in.
 */
import { Fault } from "../base/fault.ts";
import type { Config } from "../config/config.ts";

const CONSOLE_PLACES = 5;

/** Who a client is, as far as limits and timeouts go. */
export interface ClientIdentity {
  readonly user: string;
  /** As the client named it; null is the console. */
  readonly database: string | null;
  /** Empty on a Unix socket. */
  readonly address: string;
}

type Limits = Pick<Config, "limits" | "users" | "databases">;

export class ClientLimits {
  #limits: Limits;
  /** Databases that let nobody in, by the name clients use. */
  readonly disabled = new Set<string>();
  #clients = 0;
  #onConsole = 0;
  readonly #ofUser = new Map<string, number>();
  readonly #ofDatabase = new Map<string, number>();
  readonly #fromAddress = new Map<string, number>();

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** Other limits hold from now on; nobody who is connected has to go. */
  reconfigure(limits: Limits): void {
    this.#limits = limits;
  }

  /** Throws a Fault if there is no room for one more such client. */
  check({ user, database, address }: ClientIdentity): void {
    const { limits, users, databases } = this.#limits;
    const isFull = this.#clients >= limits.clientsMax;
    if (database === null) {
      if (isFull && this.#onConsole >= CONSOLE_PLACES) throw new Fault("login.too_many_clients");
      return;
    }
    if (this.disabled.has(database)) {
      const message = `database "${database}" is not currently accepting connections`;
      throw new Fault("login.database_disabled", { message });
    }
    if (isFull) throw new Fault("login.too_many_clients");
    const ofUser = users.find(({ name }) => name === user)?.clientsMax ?? limits.userClientsMax;
    checkOne(this.#ofUser.get(user), ofUser, `for role "${user}"`, "limits.user_clients_max");
    const on = databases.find(({ name }) => name === database) ?? databases.find(({ name }) => name === "*");
    const ofDatabase = on?.clientsMax ?? limits.databaseClientsMax;
    const inDatabase = this.#ofDatabase.get(database);
    checkOne(inDatabase, ofDatabase, `for database "${database}"`, "limits.database_clients_max");
    if (address === "") return;
    const fromAddress = this.#fromAddress.get(address);
    checkOne(fromAddress, limits.addressClientsMax, `from ${address}`, "limits.address_clients_max");
  }

  add(client: ClientIdentity): void {
    this.#count(client, 1);
  }

  remove(client: ClientIdentity): void {
    this.#count(client, -1);
  }

  #count({ user, database, address }: ClientIdentity, by: 1 | -1): void {
    this.#clients += by;
    if (database === null) {
      this.#onConsole += by;
      return;
    }
    change(this.#ofUser, user, by);
    change(this.#ofDatabase, database, by);
    change(this.#fromAddress, address, by);
  }
}

/** 0 is no limit. */
function checkOne(count: number | undefined, max: number, of: string, option: string): void {
  if (max === 0 || (count ?? 0) < max) return;
  throw new Fault("login.too_many_of_kind", {
    message: `too many connections ${of}`,
    detail: `There are ${count} of at most ${max}.`,
    hint: `Close some, or raise ${option} in the configuration of pgxa.`,
  });
}

function change(counts: Map<string, number>, key: string, by: 1 | -1): void {
  const count = (counts.get(key) ?? 0) + by;
  if (count === 0) counts.delete(key);
  else counts.set(key, count);
}
