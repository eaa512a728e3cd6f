/**
 * Performs what an operator asks for, on the console or by signal (admin/operations.ts).
 *
 * A pause lets nobody have a server connection who has none, and ends every connection when it is given back: when the
 * last is, nothing of pgxa's clients is on the shard any more. Clients stay connected and wait, no longer than they would
 * in any queue.
 */
import type {
  OperationState,
  Operations,
  ResolveRemark,
  ResolveRequest,
  ShutdownMode,
} from "../admin/operations.ts";
import type { Clock } from "../base/environment.ts";
import { Fault } from "../base/fault.ts";
import type { Admission } from "../pool/admission.ts";
import type { Pool } from "../pool/pool.ts";
import type { ClientLimits } from "../proxy/clientLimits.ts";
import type { ClientRegistry } from "../proxy/clientRegistry.ts";
import type { Backend, Backends } from "./backends.ts";

/** How often it is looked whether what is waited for has come, in ms. */
const LOOK_MS = 20;

export interface OperatorParts {
  readonly backends: Backends;
  readonly registry: ClientRegistry;
  readonly limits: ClientLimits;
  /** Null with one shard. */
  readonly admission: Admission | null;
  readonly clock: Clock;
  isDraining(): boolean;
  drain(): Promise<void>;
  /** Ends pgxa, whoever runs it here. */
  end(): void;
  reload(): Promise<void>;
  set(option: string, value: string): Promise<void>;
  resolve(request: ResolveRequest): Promise<readonly ResolveRemark[]>;
}

export class Operator implements Operations {
  readonly #parts: OperatorParts;
  /** Names of databases that are paused. */
  readonly #paused = new Set<string>();
  #isAllPaused = false;
  /** Names of databases that are there, if perhaps not in this process yet. */
  readonly #elsewhere = new Set<string>();

  constructor(parts: OperatorParts) {
    this.#parts = parts;
    parts.backends.onCreated = (name, backend) => {
      if (this.isPaused(name)) this.#pauseOne(backend);
    };
  }

  /** The database is there in another worker, and may come to be here. */
  expect(database: string): void {
    this.#elsewhere.add(database);
  }

  get state(): OperationState {
    if (this.#parts.isDraining()) return "draining";
    return this.#isAllPaused ? "paused" : "active";
  }

  isPaused(database: string): boolean {
    return this.#isAllPaused || this.#paused.has(database);
  }

  isDisabled(database: string): boolean {
    return this.#parts.limits.disabled.has(database);
  }

  async pause(database?: string): Promise<void> {
    const backends = this.#beginPause(database);
    await this.#until(() => {
      if (!this.#isPausedStill(database)) throw new Fault("console.resumed");
      return backends.every(({ all }) => all.every(isGivenBack));
    });
  }

  async resume(database?: string): Promise<void> {
    const backends = this.#named(database);
    if (database !== undefined && !this.#paused.has(database)) throw new Fault("console.not_paused");
    if (database !== undefined) this.#paused.delete(database);
    else {
      this.#isAllPaused = false;
      this.#paused.clear();
    }
    if (this.#isAllPaused) return;
    for (const { all } of backends) for (const pool of all) pool.resume();
    this.#parts.admission?.resume();
  }

  async reconnect(database?: string): Promise<void> {
    for (const { all } of this.#named(database)) for (const pool of all) pool.refresh();
  }

  async disable(database: string): Promise<void> {
    this.#named(database);
    this.#parts.limits.disabled.add(database);
  }

  async enable(database: string): Promise<void> {
    this.#named(database);
    this.#parts.limits.disabled.delete(database);
  }

  async kill(database?: string): Promise<void> {
    const backends = this.#beginPause(database);
    const fault = new Fault("session.terminated");
    for (const { session, client } of [...this.#parts.registry.entries]) {
      const of = client.identity.database;
      if (of !== null && (database === undefined || of === database)) session.terminate(fault);
    }
    for (const { all } of backends) for (const pool of all) pool.drop();
  }

  async killClient(id: number): Promise<void> {
    if (!this.#parts.registry.signal("terminate", id)) throw new Fault("console.no_client");
  }

  async suspend(): Promise<void> {
    throw new Fault("console.no_suspend");
  }

  async reload(): Promise<void> {
    await this.#parts.reload();
  }

  async drain(): Promise<void> {
    await this.shutdown("wait_for_servers");
  }

  /** Resolves before it begins: whoever asked is a client, too, and is told before it has to go. */
  async shutdown(mode: ShutdownMode): Promise<void> {
    const { registry, drain, end, clock } = this.#parts;
    clock.after(LOOK_MS, () => {
      const before =
        mode === "immediate"
          ? Promise.resolve()
          : mode === "wait_for_servers"
            ? drain()
            : this.#until(() => registry.size === 0);
      before.then(end, end);
    });
  }

  async waitClose(database?: string): Promise<void> {
    const pools = this.#named(database).flatMap((backend) => backend.all);
    await this.#until(() => pools.every((pool) => pool.staleCount === 0));
  }

  set(option: string, value: string): Promise<void> {
    return this.#parts.set(option, value);
  }

  resolve(request: ResolveRequest): Promise<readonly ResolveRemark[]> {
    return this.#parts.resolve(request);
  }

  // --- inside ---

  #named(database: string | undefined): readonly Backend[] {
    const all = [...this.#parts.backends];
    const found = all.filter(([name]) => database === undefined || name === database);
    if (found.length === 0 && database !== undefined && !this.#elsewhere.has(database)) {
      throw new Fault("console.no_database", { message: `there is no database "${database}"` });
    }
    return found.map(([, backend]) => backend);
  }

  #isPausedStill = (database: string | undefined): boolean =>
    database === undefined ? this.#isAllPaused : this.isPaused(database);

  /** What is paused from now on. */
  #beginPause(database: string | undefined): readonly Backend[] {
    const backends = this.#named(database);
    if (database === undefined) this.#isAllPaused = true;
    else this.#paused.add(database);
    for (const backend of backends) this.#pauseOne(backend);
    return backends;
  }

  /** In front of several shards a transaction that has begun gets the connections it still needs. */
  #pauseOne({ all }: Backend): void {
    const { admission } = this.#parts;
    admission?.pause();
    for (const pool of all) {
      if (admission === null) pool.pause();
      else pool.refresh();
    }
  }

  /** Resolves when `isSo`, and rejects with what that throws. */
  #until(isSo: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        try {
          if (isSo()) resolve();
          else this.#parts.clock.after(LOOK_MS, look);
        } catch (error) {
          reject(error);
        }
      };
      look();
    });
  }
}

/** With several shards some may have been opened since, for transactions that had begun. */
function isGivenBack(pool: Pool): boolean {
  if (pool.seats.taken > 0) return false;
  pool.refresh();
  return pool.staleCount === 0;
}
