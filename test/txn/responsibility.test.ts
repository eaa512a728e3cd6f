import assert from "node:assert/strict";
import { test } from "node:test";
import {
  answersFor,
  type EpochKind,
  type Holder,
  RESPONSIBILITY_TABLE,
  type Role,
} from "../../src/txn/responsibility.ts";

const ROLES: readonly Role[] = ["responsible", "heir"];
const KINDS: readonly EpochKind[] = ["own", "known", "later"];
const HOLDERS: readonly Holder[] = ["living", "gone"];
const OWN = 100;
const LATEST = 200;
const EPOCHS: Readonly<Record<EpochKind, readonly number[]>> = {
  own: [OWN],
  known: [1, OWN - 1, OWN + 1, LATEST],
  later: [LATEST + 1],
};

/** Said again in words that have nothing of the table's form. */
const expected = (role: Role, kind: EpochKind, holder: Holder): boolean =>
  kind === "own" || (role === "responsible" && kind === "known" && holder === "gone");

for (const role of ROLES) {
  for (const kind of KINDS) {
    for (const holder of HOLDERS) {
      const isOurs = expected(role, kind, holder);
      test(`${role}, ${kind} epoch, its process is ${holder}: ${isOurs ? "ours" : "elsewhere"}`, () => {
        assert.equal(RESPONSIBILITY_TABLE[role][kind][holder] === "ours", isOurs);
        for (const epoch of EPOCHS[kind]) {
          const living = new Set(holder === "living" ? [epoch] : []);
          assert.equal(answersFor(epoch, { role, own: OWN, latest: LATEST, living }), isOurs);
        }
      });
    }
  }
}

test("the table of responsibility is total", () => {
  assert.deepEqual(Object.keys(RESPONSIBILITY_TABLE).sort(), [...ROLES].sort());
  for (const rows of Object.values(RESPONSIBILITY_TABLE)) {
    assert.deepEqual(Object.keys(rows).sort(), [...KINDS].sort());
    for (const cells of Object.values(rows)) assert.deepEqual(Object.keys(cells).sort(), [...HOLDERS].sort());
  }
});

test("of processes that live together no two answer for the same epoch, whoever of the others is gone", () => {
  const epochs = [10, 20, 30];
  for (const responsible of epochs) {
    for (let alive = 1; alive < 8; alive += 1) {
      const living = epochs.filter((_, i) => alive & (1 << i));
      if (!living.includes(responsible)) continue;
      for (const epoch of [...epochs, 5, 40]) {
        const answering = living.filter((own) =>
          answersFor(epoch, {
            role: own === responsible ? "responsible" : "heir",
            own,
            latest: Math.max(...epochs.filter((one) => one <= own || !living.includes(one))),
            living: new Set(living.filter((one) => one !== own)),
          }),
        );
        assert.ok(answering.length <= 1, `epoch ${epoch}, living ${living}: ${answering}`);
      }
    }
  }
});
