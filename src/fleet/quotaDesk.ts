/**
 * Where workers are granted their part of what they share: one broker for each key, and who has which claim.
 *
 * A worker that died holds nothing any more: the system has closed its connections.
 */
import type { Clock, Timer } from "../base/environment.ts";
import type { Crew, Member } from "./crew.ts";
import { LastingBroker } from "./lastingBroker.ts";
import { QuotaBroker } from "./quotaBroker.ts";
import type { Grant } from "./quotaClaim.ts";
import { QUOTA_GIVEN_UP, QUOTA_GRANTED, QUOTA_REPORTED, type ReportedQuota } from "./quotaTopics.ts";

/** How long a turn is where there is less than one for each worker that needs some, in ms. */
const TURN_MS = 250;

interface Claimant {
  readonly member: Member;
  readonly claim: number;
  readonly broker: Broker;
  readonly key: string;
}

type Broker = QuotaBroker<Claimant> | LastingBroker<Claimant>;

export class QuotaDesk {
  readonly #size: number;
  readonly #clock: Clock;
  readonly #brokers = new Map<string, Broker>();
  readonly #claimants = new Map<Member, Map<number, Claimant>>();
  #turnTimer: Timer | null = null;

  /** `size`: how many workers there are to be. */
  constructor(crew: Crew, size: number, clock: Clock) {
    this.#size = size;
    this.#clock = clock;
    crew.watch({
      onJoined: (member) => this.#join(member),
      onLeft: (member) => this.#leave(member),
    });
  }

  stop(): void {
    this.#turnTimer?.cancel();
    this.#turnTimer = null;
  }

  #join(member: Member): void {
    const claimants = new Map<number, Claimant>();
    this.#claimants.set(member, claimants);
    member.channel.serve(QUOTA_REPORTED, (report) => {
      if (this.#claimants.get(member) === claimants) this.#note(member, claimants, report);
    });
    member.channel.serve(QUOTA_GIVEN_UP, ({ claim }) => {
      const claimant = claimants.get(claim);
      claimants.delete(claim);
      if (claimant !== undefined) this.#drop(claimant);
    });
  }

  #leave(member: Member): void {
    const claimants = this.#claimants.get(member);
    this.#claimants.delete(member);
    for (const claimant of claimants?.values() ?? []) this.#drop(claimant);
  }

  #note(member: Member, claimants: Map<number, Claimant>, report: ReportedQuota): void {
    const { claim, key, isLasting } = report;
    let claimant = claimants.get(claim);
    if (claimant === undefined) {
      const broker = this.#brokerOf(key, isLasting);
      claimants.set(claim, (claimant = { member, claim, broker, key }));
    }
    this.#send(claimant.broker.report(claimant, report));
    this.#watchTurns();
  }

  #brokerOf(key: string, isLasting: boolean): Broker {
    let broker = this.#brokers.get(key);
    if (broker === undefined) {
      broker = isLasting ? new LastingBroker(this.#size) : new QuotaBroker(this.#size);
      this.#brokers.set(key, broker);
    }
    return broker;
  }

  #drop(claimant: Claimant): void {
    const { broker, key } = claimant;
    this.#send(broker.leave(claimant));
    if (broker.isEmpty) this.#brokers.delete(key);
  }

  #send(grants: readonly Grant<Claimant>[]): void {
    for (const { claimant, granted, serial, isFull } of grants) {
      const { member, claim } = claimant;
      member.channel.tell(QUOTA_GRANTED, { claim, granted, serial, isFull });
    }
  }

  #watchTurns(): void {
    if (this.#turnTimer !== null || ![...this.#brokers.values()].some(({ needsTurns }) => needsTurns)) return;
    this.#turnTimer = this.#clock.after(TURN_MS, () => {
      this.#turnTimer = null;
      for (const broker of this.#brokers.values()) this.#send(broker.rotate());
      this.#watchTurns();
    });
  }
}
