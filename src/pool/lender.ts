/**
 * generic-pool, as the pool uses it: it keeps the size between min and max, opens what is missing and closes what is
 * idle for too long. Who waits for a connection that is being opened can be told that there will be none.
 *
 * generic-pool answers a failed connect by trying again until the acquire times out. A client of a shard that is
 * down is better served by the reason, at once; so the factory never fails but makes a `FailedConnect`, which whoever
 * gets it turns into that client's error.
 */
import genericPool, { type Pool as GenericPool } from "generic-pool";
import { detach } from "../base/detach.ts";
import { Fault } from "../base/fault.ts";
import type { PoolConfig } from "../config/config.ts";
import type { ServerConnection } from "./serverConnection.ts";

export interface FailedConnect {
  readonly fault: Fault;
  readonly atMs: number;
}
export type Resource = ServerConnection | FailedConnect;

export const isFailed = (resource: Resource): resource is FailedConnect => "fault" in resource;

type Limits = Pick<PoolConfig, "min" | "max" | "reserve" | "checkoutTimeoutMs" | "idleTimeoutMs">;
/** How many idle connections are looked at in a turn. */
const EVICTIONS = 1_000;

export interface LenderOptions {
  readonly limits: Limits;
  /** Never rejects. */
  connect(): Promise<Resource>;
  disconnect(connection: ServerConnection): void;
  /** What somebody is told who has waited for too long. */
  timeout(): Fault;
}

export class Lender {
  readonly #options: LenderOptions;
  readonly #pool: GenericPool<Resource>;
  /** How to tell those who wait for a connection that there will be none. */
  readonly #waiting = new Set<(fault: Fault) => void>();

  constructor(options: LenderOptions) {
    this.#options = options;
    const { min, max, reserve, checkoutTimeoutMs, idleTimeoutMs } = options.limits;
    this.#pool = genericPool.createPool<Resource>(
      {
        create: () => options.connect(),
        destroy: async (resource) => {
          if (!isFailed(resource)) options.disconnect(resource);
        },
      },
      {
        min,
        max: max + reserve,
        acquireTimeoutMillis: checkoutTimeoutMs,
        softIdleTimeoutMillis: idleTimeoutMs,
        evictionRunIntervalMillis: Math.min(idleTimeoutMs, 10_000),
        numTestsPerEvictionRun: EVICTIONS,
        // The soft limit spares `min`; the hard one must never strike before it.
        idleTimeoutMillis: Number.MAX_SAFE_INTEGER,
        fifo: false,
        autostart: min > 0,
      },
    );
    if (max + reserve === 0) this.resize(options.limits); // which it takes for one
  }

  /** Another size from now on; what is open beyond it stays until it is closed. */
  resize({ min, max, reserve }: Limits): void {
    // generic-pool has no way to say so, and reads these whenever it decides.
    const { _config } = this.#pool as unknown as { readonly _config: { min: number; max: number } };
    const isMore = min > _config.min;
    Object.assign(_config, { min, max: max + reserve });
    if (isMore) this.#ensureMinimum();
  }

  #ensureMinimum(): void {
    this.#pool.start();
    const { _ensureMinimum } = this.#pool as unknown as { _ensureMinimum(): void };
    _ensureMinimum.call(this.#pool);
  }

  /** Takes up to `count` idle connections out, and passes them to `close`, soon. */
  shed(count: number, close: (resource: Resource) => void): void {
    for (let i = Math.min(count, this.#pool.available); i > 0; i -= 1) {
      this.#pool.acquire().then(close, () => {}); // none is left of an idle one that nobody could have
    }
  }

  /** Connections, lent ones and those being opened too. */
  get size(): number {
    return this.#pool.size;
  }

  /** How many wait. */
  get pending(): number {
    return this.#pool.pending;
  }

  /** An idle connection, or a new one; rejects with a Fault. */
  acquire(): Promise<Resource> {
    return new Promise((resolve, reject) => {
      let isOver = false;
      const refuse = (fault: Fault): void => {
        isOver = true;
        this.#waiting.delete(refuse);
        reject(fault);
      };
      this.#waiting.add(refuse);
      this.#pool.acquire().then(
        (resource) => {
          this.#waiting.delete(refuse);
          if (!isOver) resolve(resource);
          else if (isFailed(resource)) this.forget(resource);
          else this.giveBack(resource);
        },
        (error: unknown) => {
          if (!isOver) refuse(this.#faultOf(error));
        },
      );
    });
  }

  refuseWaiting(fault: () => Fault): void {
    for (const refuse of [...this.#waiting]) refuse(fault());
  }

  /** `connection` is idle; the next who waits is served from within. */
  giveBack(connection: ServerConnection): void {
    detach(this.#pool.release(connection), "the next who waits is served from within");
  }

  /** The slot of `resource` is free again, if it still has one. */
  forget(resource: Resource): void {
    if (!this.#pool.isBorrowedResource(resource)) return;
    detach(this.#pool.destroy(resource), "generic-pool only drops its entry");
  }

  async close(): Promise<void> {
    this.#pool.clear();
    await Promise.race([this.#pool.drain().then(() => this.#pool.clear()), Promise.resolve()]);
  }

  #faultOf(error: unknown): Fault {
    const isLate = error instanceof Error && error.name === "TimeoutError";
    return isLate ? this.#options.timeout() : new Fault("login.shutting_down", { cause: error });
  }
}
