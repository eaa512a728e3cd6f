/**
 * How many clients may be connected: in all, of a user, of a database, from an address.
 *
 * It is asked about one who has proved who it is, so that nobody else learns how many there are of whom. The console
 * has a few places beyond `limits.clients_max`: who wants to see why nobody gets in must get in.
 */
import { Fault } from "../base/fault.ts";
import type { Config } from "../config/config.ts";
import type { Quotas } from "../pool/quota.ts";
import { ClientPlaces, type PlaceLimit } from "./clientPlaces.ts";

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

  /** What this worker has of the limits, if they hold for several together. */
  readonly #places: ClientPlaces | null;

  constructor(limits: Limits, quotas: Quotas | null = null) {
    this.#limits = limits;
    this.#places = quotas === null ? null : new ClientPlaces(quotas);
  }

  /** Other limits hold from now on; nobody who is connected has to go. */
  reconfigure(limits: Limits): void {
    this.#limits = limits;
    if (this.#places === null) return;
    this.#places.note([this.#ofAll()]);
    for (const user of this.#ofUser.keys()) this.#places.note(this.#limitsOf({ user }));
    for (const database of this.#ofDatabase.keys()) this.#places.note(this.#limitsOf({ database }));
    for (const address of this.#fromAddress.keys()) this.#places.note(this.#limitsOf({ address }));
  }

  /**
   * Null: such a client may come in now, as far as other workers are concerned. Else it is to be looked again when it
   * resolves; rejects with a Fault.
   */
  ask(client: ClientIdentity): Promise<void> | null {
    if (this.#places === null || client.database === null) return null;
    return this.#places.ask([this.#ofAll(), ...this.#limitsOf(client)]);
  }

  /** Throws a Fault if there is no room for one more such client. */
  check({ user, database, address }: ClientIdentity): void {
    const { limits } = this.#limits;
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
    for (const { count, max, fault } of this.#limitsOf({ user, database, address }))
      if (count >= max) throw fault();
  }

  add(client: ClientIdentity): void {
    this.#count(client, 1);
  }

  remove(client: ClientIdentity): void {
    this.#count(client, -1);
  }

  #ofAll(): PlaceLimit {
    const max = this.#limits.limits.clientsMax;
    return { key: "clients", max, count: this.#clients, fault: () => new Fault("login.too_many_clients") };
  }

  /** Those that there are, of one or several of its user, its database and its address; a maximum of 0 is none. */
  #limitsOf({ user, database, address }: Partial<ClientIdentity>): readonly PlaceLimit[] {
    const { limits, users, databases } = this.#limits;
    const found: PlaceLimit[] = [];
    if (user !== undefined) {
      const max = users.find(({ name }) => name === user)?.clientsMax ?? limits.userClientsMax;
      const of = { kind: "user", name: user, title: `for role "${user}"` };
      if (max > 0) found.push(limitOf(of, max, this.#ofUser, "limits.user_clients_max"));
    }
    if (database !== undefined && database !== null) {
      const on =
        databases.find(({ name }) => name === database) ?? databases.find(({ name }) => name === "*");
      const max = on?.clientsMax ?? limits.databaseClientsMax;
      const of = { kind: "database", name: database, title: `for database "${database}"` };
      if (max > 0) found.push(limitOf(of, max, this.#ofDatabase, "limits.database_clients_max"));
    }
    const max = limits.addressClientsMax;
    if (address !== undefined && address !== "" && max > 0) {
      const of = { kind: "address", name: address, title: `from ${address}` };
      found.push(limitOf(of, max, this.#fromAddress, "limits.address_clients_max"));
    }
    return found;
  }

  #count({ user, database, address }: ClientIdentity, by: 1 | -1): void {
    this.#clients += by;
    if (database === null) {
      this.#onConsole += by;
    } else {
      change(this.#ofUser, user, by);
      change(this.#ofDatabase, database, by);
      change(this.#fromAddress, address, by);
    }
    this.#places?.note([this.#ofAll(), ...this.#limitsOf({ user, database, address })]);
  }
}

function limitOf(
  { kind, name, title }: { readonly kind: string; readonly name: string; readonly title: string },
  max: number,
  counts: ReadonlyMap<string, number>,
  option: string,
): PlaceLimit {
  const count = counts.get(name) ?? 0;
  const fault = () =>
    new Fault("login.too_many_of_kind", {
      message: `too many connections ${title}`,
      detail: `There are ${Math.max(count, max)} of at most ${max}.`,
      hint: `Close some, or raise ${option} in the configuration of pgxa.`,
    });
  return { key: `clients of ${kind} ${name}`, max, count, fault };
}

function change(counts: Map<string, number>, key: string, by: 1 | -1): void {
  const count = (counts.get(key) ?? 0) + by;
  if (count === 0) counts.delete(key);
  else counts.set(key, count);
}
