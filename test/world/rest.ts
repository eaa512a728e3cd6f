/**
 * Lets a world come to rest: no more faults, every process is up, every message goes through, every timer goes off.
 *
 * A late statement of a process that is dead arrives before anybody looks again; nobody can end its backend. One of a
 * process that lives arrives when everybody has seen to what they know of: by then whoever gave it up must have made sure
 * that it prepares nothing.
 */
import { brokenNow, stillPrepared, unresolved } from "./invariants.ts";
import { kindOfTimer } from "./transitions.ts";
import { settle, type World } from "./world.ts";

/** Far more than any schedule needs. */
const ROUNDS_MAX = 8;
const ROUNDS_MIN = 3;

/** What is wrong where it came to rest; empty if all is well. */
export async function comeToRest(world: World): Promise<readonly string[]> {
  for (const [name, process] of world.processes) if (process === null) await world.restart(name);
  for (const late of world.late.filter(({ isOwned }) => !isOwned)) arrive(world, late);
  await goRound(world);
  const before = stillPrepared(world);
  for (const late of [...world.late]) arrive(world, late);
  const after = stillPrepared(world).filter((problem) => !before.includes(problem));
  await goRound(world);
  return [
    ...brokenNow(world),
    ...stillPrepared(world),
    ...after.map((problem) => `${problem}, by a statement that nobody waited for any more`),
    ...unresolved(world),
  ];
}

async function goRound(world: World): Promise<void> {
  for (let round = 1; round <= ROUNDS_MAX; round += 1) {
    await world.driveAll(() => true);
    if (round > ROUNDS_MIN && isResolved(world)) return;
    endWhatBlocks(world);
    expireTheDead(world);
    await fireAll(world);
  }
}

const isResolved = (world: World): boolean =>
  stillPrepared(world).length === 0 &&
  world.living.every(({ decisions }) => decisions.unconcluded().length === 0);

/** In full; or it never will. */
function arrive(world: World, late: World["late"][number]): void {
  const isThere = (): boolean => world.late.includes(late);
  while (isThere() && world.canExecuteLate(late)) world.executeLate(late);
  if (isThere()) world.dropLate(late);
}

/** A backend whose client is gone, and which others wait for, notices that at last. */
function endWhatBlocks(world: World): void {
  const finishers = new Set(
    world.shards.flatMap(({ prepared }) => [...prepared.values()].map(({ finisher }) => finisher)),
  );
  for (const late of [...world.late]) {
    const { backend } = late;
    if (backend.isHalfway || !backend.isAlive || finishers.has(backend)) world.dropLate(late);
  }
}

/** Leases of epochs that no living process has are over everywhere, and what is there is old. */
function expireTheDead(world: World): void {
  const living = new Set(world.living.map(({ name, decisions }) => `${name}:${decisions.epoch}`));
  for (const shard of world.shards)
    shard.age(({ coordinator, epoch }) => !living.has(`${coordinator}:${epoch}`));
}

/** Every timer goes off once, the earliest first. */
async function fireAll(world: World): Promise<void> {
  for (const process of world.living) {
    const due = [...process.clock.timers.values()].sort((a, b) => a.dueMs - b.dueMs);
    for (const timer of due) {
      const kind = kindOfTimer(timer);
      if (kind === null || kind === "slowLook" || process.clock.timers.get(timer.id) !== timer) continue;
      process.fire(timer.id);
      await settle();
    }
  }
  await world.driveAll(() => true);
}
