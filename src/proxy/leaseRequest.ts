/**
 * How a client in front of one shard comes to a server connection: at once if one is free that has the client's
 * settings, and else while the client waits.
 */
import { detach } from "../base/detach.ts";
import { Fault } from "../base/fault.ts";
import type { LeaseHolder, ServerConnection } from "../pool/serverConnection.ts";
import type { LeasePool } from "../pool/shardPools.ts";
import type { Asker, Share } from "../pool/share.ts";
import type { ClientParameters } from "./clientParameters.ts";
import { type ClientSide, WAIT_LEASE } from "./clientSide.ts";
import { longWaitNotice } from "./longWait.ts";
import { asRefusal, type Refusal } from "./refusal.ts";

export interface LeaseSeeker extends LeaseHolder {
  readonly client: ClientSide;
  readonly parameters: ClientParameters;
  /** The lease that was asked for, with the client's settings. */
  onLease(lease: ServerConnection): void;
}

export class LeaseRequest implements Asker {
  readonly share: Share;
  wantsStandby = false;
  readonly #seeker: LeaseSeeker;
  readonly #pool: LeasePool;
  /** Why the statement that asked for a lease cannot have one. */
  #refusal: Refusal | null = null;
  /** How many leases were asked for; only the last is wanted. */
  #checkouts = 0;

  constructor(seeker: LeaseSeeker, pool: LeasePool, share: Share) {
    this.share = share;
    this.#seeker = seeker;
    this.#pool = pool;
  }

  /**
   * Whether the seeker has been given a lease, to a standby if `wantsStandby` and one is fit; if not, it is on the way or
   * `takeRefusal` says why not.
   */
  ask(wantsStandby: boolean): boolean {
    if (this.#refusal !== null) return false;
    this.wantsStandby = wantsStandby;
    const { client, parameters } = this.#seeker;
    const lease = this.#pool.tryCheckout(this.#seeker, parameters.settings, this);
    if (lease !== null && parameters.isInForceOn(lease)) {
      this.#seeker.onLease(lease);
      return true;
    }
    client.wait(WAIT_LEASE);
    client.meter.beginWait();
    detach(this.#checkout(lease), "it ends in a lease or a refusal");
    return false;
  }

  // --- Asker ---

  get isGone(): boolean {
    return !this.#seeker.client.isWaitingFor(WAIT_LEASE) || this.#seeker.client.isOver;
  }

  /** Nothing of a shard's is on the way to a client that waits for a connection. */
  onLongWait(detail: string): void {
    if (!this.isGone) this.#seeker.client.say(longWaitNotice(detail));
  }

  /** The statement that waits for a lease is not to run; a lease that comes for it goes back. */
  cancel(): void {
    const { client } = this.#seeker;
    if (!client.isWaitingFor(WAIT_LEASE)) return;
    this.#checkouts += 1;
    this.#refusal = new Fault("session.canceled");
    client.meter.endWait();
    client.go(WAIT_LEASE);
  }

  /** Why there is no lease, once; null if there is no reason (yet). */
  takeRefusal(): Refusal | null {
    const refusal = this.#refusal;
    this.#refusal = null;
    return refusal;
  }

  async #checkout(parked: ServerConnection | null): Promise<void> {
    const { client, parameters } = this.#seeker;
    this.#checkouts += 1;
    const checkout = this.#checkouts;
    const isWanted = (): boolean => checkout === this.#checkouts && !client.isOver;
    try {
      const lease = parked ?? (await this.#pool.checkout(this.#seeker, parameters.settings, this));
      if (isWanted() && !parameters.isInForceOn(lease)) {
        await parameters.apply(lease).catch((error: unknown) => {
          this.#pool.checkIn(lease);
          throw error;
        });
      }
      if (!isWanted()) return this.#pool.checkIn(lease);
      this.#seeker.onLease(lease);
    } catch (error) {
      const refusal = asRefusal(error);
      if (isWanted()) this.#refusal = refusal;
    }
    if (!isWanted()) return;
    client.meter.endWait();
    client.go(WAIT_LEASE);
  }
}
