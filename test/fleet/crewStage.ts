/** A parent with workers in one process, each with a channel of its own. */
import { Crew, type Member, type Membership } from "../../src/fleet/crew.ts";
import { channelPair } from "./channelPair.ts";

export interface StagedWorker {
  readonly member: Member;
  readonly membership: Membership;
}

export class CrewStage {
  readonly crew = new Crew();
  readonly #size: number;

  constructor(size: number) {
    this.#size = size;
  }

  join(index: number): StagedWorker {
    const [channel, parent] = channelPair();
    const member: Member = { index, pid: 1_000 + index, channel };
    this.crew.join(member);
    return { member, membership: { index, size: this.#size, parent } };
  }

  /** The worker is killed: neither end hears of the other again. */
  leave({ member, membership }: StagedWorker): void {
    this.crew.leave(member);
    membership.parent.close();
  }
}
