/** An admission whose limit changes while clients are in: promises are kept, and nobody else is let in meanwhile. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { parseConfig } from "../../src/config/load.ts";
import { Admission, AdmittedClient } from "../../src/pool/admission.ts";
import { AdmissionQuota } from "../../src/pool/admissionQuota.ts";
import type { QuotaHolder, QuotaRequest } from "../../src/pool/quota.ts";
import { ManualEnvironment } from "../txn/manualEnvironment.ts";

const POOLS = 3;
const CONFIG = parseConfig(
  "database: bank\nshards: [{ name: east, host: h, port: 1, user: u }]\nauth: { method: trust }\npool: { max: 9 }",
  "pgxa.yaml",
  {},
).pool;

/** The parent's part, played. */
class Played {
  readonly environment = new ManualEnvironment();
  readonly admission = new Admission(POOLS, { ...CONFIG, max: 0 }, this.environment.clock);
  readonly clients: AdmittedClient[] = [];
  readonly quota: AdmissionQuota;
  granted = 0;
  /** What the worker has said that it holds at most. */
  bound = 0;
  wanted = 0;
  holder!: QuotaHolder;

  constructor() {
    const played = this;
    const opened = {
      get limit() {
        return played.granted;
      },
      isFull: false,
      want: (count: number) => void (this.wanted = Math.max(this.wanted, count)),
      settle: () => this.hear(),
      resize() {},
      close() {},
    };
    const open = ({ holder }: QuotaRequest) => {
      this.holder = holder;
      return opened;
    };
    const parts = { admission: this.admission, pools: () => [] };
    this.quota = new AdmissionQuota({ open, split: () => 0 }, "admission", CONFIG, parts);
  }

  grant(count: number): void {
    this.granted = count;
    this.holder.onLimit();
    this.hear();
  }

  hear(): void {
    this.bound = Math.max(this.granted, this.holder.held);
  }

  enter(client: AdmittedClient, pool: number): void {
    const hadSome = client.held.size > 0 && client.isOpen;
    const entered = this.admission.tryEnter(client, pool);
    assert.ok(entered || !hadSome, "who is in finds a connection of every pool");
  }

  check(): void {
    assert.ok(this.admission.claimed <= this.bound, `${this.admission.claimed} of ${this.bound}`);
  }
}

type Step =
  | { readonly kind: "grant"; readonly count: number }
  | { readonly kind: "open" | "single" | "end"; readonly at: number; readonly pool: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant("grant" as const), count: fc.nat(9) }),
  fc.record({
    kind: fc.constantFrom("open" as const, "open" as const, "single" as const, "end" as const),
    at: fc.nat(11),
    pool: fc.nat(POOLS - 1),
  }),
);

describe("an admission whose limit is granted", () => {
  it("never holds more than it has said, and gives who is in what it was promised", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const played = new Played();
        for (const one of steps) {
          if (one.kind === "grant") played.grant(one.count);
          else {
            const client = (played.clients[one.at] ??= new AdmittedClient({}));
            if (one.kind === "end") {
              played.admission.end(client);
              for (const pool of [...client.held]) played.admission.leave(client, pool);
            } else {
              if (client.held.size === 0 && one.kind === "open") played.admission.begin(client);
              // A statement outside a transaction claims the one it runs on; a pinned client that takes others is the
              // exception that admission.ts names, for which nothing is promised.
              if (client.isOpen || client.held.size === 0) played.enter(client, one.pool);
            }
          }
          played.check();
        }
      }),
      { numRuns: 500 },
    );
  });

  it("lets others in as more is granted, and says how many wait", async () => {
    const played = new Played();
    const entered: number[] = [];
    for (const name of [1, 2, 3]) {
      const client = new AdmittedClient({});
      played.admission.begin(client);
      void played.admission.enter(client, 0).then(() => entered.push(name));
    }
    assert.equal(played.wanted, 3);
    played.grant(2);
    await played.environment.pass(0);
    assert.deepEqual(entered, [1, 2]);
    played.grant(3);
    await played.environment.pass(0);
    assert.deepEqual(entered, [1, 2, 3]);
  });

  it("steps down as clients leave, and says so each time", () => {
    const played = new Played();
    played.grant(3);
    const clients = [1, 2, 3].map(() => new AdmittedClient({}));
    for (const client of clients) {
      played.admission.begin(client);
      played.enter(client, 0);
    }
    played.grant(1);
    assert.equal(played.bound, 3);
    for (const [i, client] of clients.entries()) {
      played.enter(client, 1);
      played.admission.end(client);
      for (const pool of [...client.held]) played.admission.leave(client, pool);
      assert.equal(played.bound, Math.max(1, 2 - i));
    }
  });

  it("says no more than was granted when a risk lets in one more than that", async () => {
    const played = new Played();
    played.grant(1);
    const [idle, lucky] = [new AdmittedClient({}), new AdmittedClient({})];
    for (const client of [idle, lucky]) played.admission.begin(client);
    played.enter(idle, 0);
    const entered = played.admission.enter(lucky, 1);
    await played.environment.pass(1_000);
    await entered;
    assert.equal(played.admission.claimed, 2);
    played.quota.reconfigure(CONFIG); // as a RELOAD does
    played.hear();
    assert.equal(played.bound, 1, "one connection to each shard");
    const third = new AdmittedClient({});
    played.admission.begin(third);
    assert.equal(played.admission.tryEnter(third, 2), false);
  });
});
