/**
 * A worker's part in finding deadlocks with the others: what it asks of its parent, and what it answers.
 *
 * Nothing here waits for longer than a bounded time, whoever is paused: without the others it goes on alone, and with what
 * it sees then it cannot take for a deadlock what is none.
 */
import { detach } from "../base/detach.ts";
import type { Clock } from "../base/environment.ts";
import type { DeadlockDetector } from "../deadlock/detector.ts";
import type { PeerShares, Peers, Verdict } from "../deadlock/peers.ts";
import type { Membership } from "./crew.ts";
import { SENTENCE_MAX_MS, SHARE_MAX_MS, TURN_MAX_MS } from "./deadlockDesk.ts";
import { OTHERS_SHARES, OWN_SHARE, SENTENCE, TURN, TURN_OVER } from "./deadlockTopics.ts";
import { waitBounded } from "./waitBounded.ts";

/** What the parent may take over passing something on, in ms. */
const PARENT_MS = 250;

export class DeadlockPeers implements Peers {
  readonly #membership: Membership;
  readonly #clock: Clock;
  readonly #pool: () => Peers["pool"];

  /** `pool`: what it is by the configuration that is in force. */
  constructor(membership: Membership, clock: Clock, pool: () => Peers["pool"]) {
    this.#membership = membership;
    this.#clock = clock;
    this.#pool = pool;
  }

  get pool(): Peers["pool"] {
    return this.#pool();
  }

  /** Answers the others for `detector`. */
  serve(detector: DeadlockDetector): void {
    const { parent } = this.#membership;
    parent.serve(OWN_SHARE, ({ all }) => detector.share(all));
    parent.serve(SENTENCE, ({ verdict, validUntilMs }) => {
      if (this.#clock.wallMs() <= validUntilMs) detector.execute(verdict);
      return null;
    });
  }

  async shares(all: boolean): Promise<PeerShares> {
    const asked = this.#membership.parent.ask(OTHERS_SHARES, { all });
    const shares = await waitBounded(this.#clock, SHARE_MAX_MS + PARENT_MS, asked);
    return typeof shares === "string" ? { shares: [], isWhole: false } : shares;
  }

  async inTurn(work: () => Promise<void>): Promise<void> {
    const { parent } = this.#membership;
    const asked = parent.ask(TURN, null);
    const turn = await waitBounded(this.#clock, TURN_MAX_MS + PARENT_MS, asked);
    try {
      await work();
    } finally {
      const end = (): void => parent.tell(TURN_OVER, null);
      if (turn !== "late") end();
      else
        detach(
          asked.then(end, () => {}),
          "it comes too late",
        );
    }
  }

  async execute(worker: number, verdict: Verdict): Promise<void> {
    const validUntilMs = this.#clock.wallMs() + 2 * SENTENCE_MAX_MS;
    const asked = this.#membership.parent.ask(SENTENCE, { worker, verdict, validUntilMs });
    await waitBounded(this.#clock, SENTENCE_MAX_MS + PARENT_MS, asked);
  }
}
