/**
 * How a client in front of one shard comes to a server connection: at once if one is free that has the client's
 * settings, and else while the client waits.
 */
import { detach } from "../base/detach.ts";
import { Fault } from "../base/fault.ts";
import type { Borrower } from "../pool/checkout.ts";
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

export class LeaseRequest implements Asker, Borrower {
  readonly share: Share;
  wantsStandby = false;
  readonly #seeker: LeaseSeeker;
  readonly #pool: LeasePool;
  /** Why the statement that asked for a lease cannot have one. */
  #refusal: Refusal | null = null;
  /** Stands for the lease that was asked for last, while it is waited for: no other is wanted. */
  #asked: object | null = null;

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
    if (lease === null) this.#asked = this.#pool.request(this.#seeker, parameters.settings, this, this);
    else {
      this.#asked = lease;
      this.#apply(lease, lease);
    }
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
    this.#refusal = new Fault("session.canceled");
    this.#endWait();
  }

  /** Why there is no lease, once; null if there is no reason (yet). */
  takeRefusal(): Refusal | null {
    const refusal = this.#refusal;
    this.#refusal = null;
    return refusal;
  }

  // --- Borrower ---

  onLease(lease: ServerConnection, asked: object): void {
    if (!this.#isWanted(asked)) return this.#pool.checkIn(lease);
    if (this.#seeker.parameters.isInForceOn(lease)) this.#accept(lease);
    else this.#apply(lease, asked);
  }

  onRefused(error: unknown, asked: object): void {
    const refusal = asRefusal(error);
    if (!this.#isWanted(asked)) return;
    this.#refusal = refusal;
    this.#endWait();
  }

  // --- inside ---

  #isWanted(asked: object): boolean {
    return asked === this.#asked && !this.#seeker.client.isOver;
  }

  #accept(lease: ServerConnection): void {
    this.#seeker.onLease(lease);
    this.#endWait();
  }

  #endWait(): void {
    const { client } = this.#seeker;
    this.#asked = null;
    client.meter.endWait();
    client.go(WAIT_LEASE);
  }

  /** Gives `lease` the client's settings first. */
  #apply(lease: ServerConnection, asked: object): void {
    const applied = this.#seeker.parameters.apply(lease).then(
      () => {
        if (this.#isWanted(asked)) this.#accept(lease);
        else this.#pool.checkIn(lease);
      },
      (error: unknown) => {
        this.#pool.checkIn(lease);
        this.onRefused(error, asked);
      },
    );
    detach(applied, "it ends in a lease or a refusal");
  }
}
