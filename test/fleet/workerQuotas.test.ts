/** What workers may have of what they share, as their parent grants it over real channels. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Crew, type Member } from "../../src/fleet/crew.ts";
import { QuotaDesk } from "../../src/fleet/quotaDesk.ts";
import { QUOTA_GRANTED, QUOTA_REPORTED } from "../../src/fleet/quotaTopics.ts";
import { WorkerQuotas } from "../../src/fleet/workerQuotas.ts";
import type { Quota, QuotaHolder, Quotas } from "../../src/pool/quota.ts";
import { NO_CLIENT } from "../../src/pool/share.ts";
import { SharedBounds } from "../../src/pool/sharedBounds.ts";
import { ManualEnvironment } from "../txn/manualEnvironment.ts";
import { channelPair } from "./channelPair.ts";

class Holder implements QuotaHolder {
  held = 0;
  limits: string[] = [];
  used = 0;
  readonly quota: Quota;

  constructor(quotas: Quotas, max: number, isLasting = false, key = "pool") {
    this.quota = quotas.open({ key, max, isLasting, holder: this });
  }

  onLimit(): void {
    this.limits.push(`${this.quota.limit}${this.quota.isFull ? " full" : ""}`);
  }

  want(count: number): void {
    this.used = count;
    this.quota.want(count);
  }
}

class Stage {
  readonly environment = new ManualEnvironment();
  readonly crew = new Crew();
  readonly desk: QuotaDesk;
  readonly members: Member[] = [];
  readonly size: number;
  readonly workers: Quotas[];
  /** How many messages there were. */
  said = 0;

  constructor(size: number) {
    this.size = size;
    this.desk = new QuotaDesk(this.crew, size, this.environment.clock);
    this.workers = Array.from({ length: size }, (_, index) => this.join(index));
  }

  join(index: number): Quotas {
    const [mine, parent] = channelPair();
    const tell = mine.tell.bind(mine);
    mine.tell = (topic, body) => {
      if (topic.name === QUOTA_REPORTED.name) this.said += 1;
      tell(topic, body);
    };
    const tellBack = parent.tell.bind(parent);
    parent.tell = (topic, body) => {
      if (topic.name === QUOTA_GRANTED.name) this.said += 1;
      tellBack(topic, body);
    };
    const member = { index, pid: 100 + index, channel: parent };
    this.members[index] = member;
    this.crew.join(member);
    return new WorkerQuotas({ index, size: this.size, parent: mine }, this.environment.clock);
  }

  /** A holder of each worker. */
  async holders(max: number, isLasting = false): Promise<Holder[]> {
    const holders = this.workers.map((quotas) => new Holder(quotas, max, isLasting));
    await this.environment.pass(5);
    return holders;
  }
}

const limits = (holders: readonly Holder[]): number[] => holders.map(({ quota }) => quota.limit);

describe("workers that share what comes back", () => {
  it("have the same each at first, and more when they need it and others do not", async () => {
    const stage = new Stage(2);
    const [one, other] = (await stage.holders(10)) as [Holder, Holder];
    assert.deepEqual(limits([one, other]), [5, 5]);
    one.want(9);
    await stage.environment.pass(5);
    assert.deepEqual(limits([one, other]), [9, 1]);
  });

  it("give back what they hold only when they do not hold it any more", async () => {
    const stage = new Stage(2);
    const [one, other] = (await stage.holders(10)) as [Holder, Holder];
    one.held = 5;
    one.want(5);
    other.want(10);
    one.used = 2;
    await stage.environment.pass(751);
    assert.deepEqual(limits([one, other]), [2, 5], "they are still held");
    for (const held of [4, 3, 2]) {
      one.held = held;
      one.quota.settle();
    }
    await stage.environment.pass(5);
    assert.deepEqual(limits([one, other]), [2, 8]);
  });

  it("say nothing as long as what they have is enough", async () => {
    const stage = new Stage(2);
    const [one] = (await stage.holders(10)) as [Holder, Holder];
    one.want(4);
    await stage.environment.pass(10);
    const before = stage.said;
    for (let i = 0; i < 1_000; i += 1) {
      one.held = i % 5;
      one.used = 4;
      one.quota.want(1 + (i % 4));
      one.quota.settle();
      await stage.environment.pass(10);
    }
    assert.equal(stage.said, before);
  });

  it("gather their wishes while these grow", async () => {
    const stage = new Stage(2);
    const [one] = (await stage.holders(1_000)) as [Holder, Holder];
    const before = stage.said;
    for (let count = 501; count <= 900; count += 1) one.want(count);
    await stage.environment.pass(10);
    assert.equal(one.quota.limit >= 900, true);
    assert.ok(stage.said - before <= 12, `${stage.said - before} messages`);
  });

  it("have what a dead one had, and its successor has its part again when it needs it", async () => {
    const stage = new Stage(2);
    const [one, other] = (await stage.holders(10)) as [Holder, Holder];
    other.held = 5;
    other.want(5);
    one.want(10);
    await stage.environment.pass(5);
    assert.deepEqual(limits([one, other]), [5, 5]);
    stage.crew.leave(stage.members[1]!);
    await stage.environment.pass(5);
    assert.equal(one.quota.limit, 10);
    const next = new Holder(stage.join(1), 10);
    next.want(3);
    await stage.environment.pass(5);
    assert.deepEqual(limits([one, next]), [7, 3]);
  });

  it("take turns when there are fewer than workers", async () => {
    const stage = new Stage(3);
    const holders = await stage.holders(1);
    for (const holder of holders) holder.want(1);
    const turns = [0, 0, 0];
    for (let i = 0; i < 12; i += 1) {
      await stage.environment.pass(250);
      assert.ok(limits(holders).reduce((sum, one) => sum + one) <= 1);
      for (const [who, { quota }] of holders.entries()) if (quota.limit > 0) turns[who]! += 1;
    }
    assert.ok(Math.min(...turns) >= 3, `${turns}`);
  });

  it("wait for what a user may have until another gives it back, however long that takes", async () => {
    const stage = new Stage(2);
    const share = { of: NO_CLIENT.share.of, user: "u", userMax: 1 };
    const [one, other] = stage.workers.map((quotas) => new SharedBounds(quotas, "pool"));
    one!.allows(share);
    await stage.environment.pass(5);
    assert.ok(one!.allows(share));
    one!.count(share, 1);
    assert.equal(other!.allows(share), false);
    let isAllowed = false;
    other!.onMore = () => {
      isAllowed = other!.allows(share);
    };
    await stage.environment.pass(60_000);
    assert.equal(isAllowed, false);
    one!.count(share, -1);
    await stage.environment.pass(1_000);
    assert.ok(isAllowed);
  });

  it("divide a number that nobody may change evenly", () => {
    const stage = new Stage(3);
    assert.deepEqual(
      stage.workers.map((quotas) => quotas.split(5)),
      [2, 2, 1],
    );
  });

  it("keep to a lowered maximum, and have a raised one", async () => {
    const stage = new Stage(2);
    const [one, other] = (await stage.holders(10)) as [Holder, Holder];
    for (const { quota } of [one, other]) quota.resize(4, 0);
    await stage.environment.pass(5);
    assert.ok(one.quota.limit + other.quota.limit <= 4);
    for (const { quota } of [one, other]) quota.resize(20, 0);
    one.want(20);
    await stage.environment.pass(5);
    assert.deepEqual(limits([one, other]), [20, 0]);
  });

  it("have nothing of what was closed", async () => {
    const stage = new Stage(2);
    const [one, other] = (await stage.holders(10)) as [Holder, Holder];
    other.held = 5;
    other.quota.close();
    one.want(10);
    await stage.environment.pass(5);
    assert.deepEqual(limits([one, other]), [10, 0]);
  });
});

describe("workers that share places which are kept", () => {
  it("are told that there are no more when all are taken, and not before", async () => {
    const stage = new Stage(2);
    const [one, other] = (await stage.holders(4, true)) as [Holder, Holder];
    assert.deepEqual(limits([one, other]), [2, 2]);
    other.held = 1;
    one.held = 2;
    one.quota.want(3);
    await stage.environment.pass(5);
    assert.deepEqual(limits([one, other]), [3, 1]);
    one.held = 3;
    one.quota.want(4);
    await stage.environment.pass(5);
    assert.equal(one.limits.at(-1), "3 full");
    other.held = 0;
    one.quota.want(4);
    await stage.environment.pass(5);
    assert.deepEqual(limits([one, other]), [4, 0]);
    other.quota.want(1);
    await stage.environment.pass(5);
    assert.equal(other.limits.at(-1), "1", "one holds three of its four");
    assert.equal(one.quota.limit, 3);
  });
});
