/** A crew whose workers are in this process, each at the other end of a channel that can be held up. */
import { Channel, type Envelope } from "../../src/fleet/channel.ts";
import { Crew, type Member, type Membership } from "../../src/fleet/crew.ts";

/** A worker, whose process can be paused: what is sent to it then waits until it goes on. */
export class PlayedWorker {
  readonly membership: Membership;
  readonly member: Member;
  /** What it heard and said, by topic. */
  readonly topics: string[] = [];
  #isPaused = false;
  #held: (() => void)[] = [];

  constructor(index: number, size: number) {
    const parent = new Channel((sent) => {
      if (sent.kind === "told" || sent.kind === "asked") this.topics.push(sent.topic);
      this.#bring(channel, sent);
    });
    const channel = new Channel((sent) => this.#bring(parent, sent));
    this.membership = { index, size, parent };
    this.member = { index, pid: 1_000 + index, channel };
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    for (const bring of this.#held.splice(0)) bring();
  }

  #bring(to: Channel, sent: Envelope): void {
    const copy = structuredClone(sent);
    if (this.#isPaused) this.#held.push(() => to.receive(copy, undefined));
    else queueMicrotask(() => to.receive(copy, undefined));
  }
}

export class PlayedCrew {
  readonly crew = new Crew();
  readonly workers: readonly PlayedWorker[];

  constructor(size: number) {
    this.workers = Array.from({ length: size }, (_, index) => new PlayedWorker(index, size));
    for (const { member } of this.workers) this.crew.join(member);
  }
}
