/**
 * Lets a world come to rest: no more faults, every process is up, every message goes through, every timer goes off.
 *
 * A late statement of a process that is dead arrives before anybody looks again; nobody can end its backend. One of a
 * process that lives arrives last of all: by then whoever gave it up must have seen to it that it cannot be executed.
 */
import { kindOfTimer } from "./transitions.ts";
import { settle, type World } from "./world.ts";

/** Far more than any schedule needs. */
const ROUNDS_MAX = 8;
const ROUNDS_MIN = 3;

export async function comeToRest(world: World): Promise<void> {
  for (const [name, process] of world.processes) if (process === null) await world.restart(name);
  for (const late of world.late.filter(({ isOwned }) => !isOwned)) arrive(world, late);
  for (let round = 1; round <= ROUNDS_MAX; round += 1) {
    await world.driveAll(() => true);
    const isDone = isResolved(world) && round > ROUNDS_MIN;
    if (isDone) break;
    endWhatBlocks(world);
    for (const shard of world.shards) shard.age(() => false);
    expireTheDead(world);
    await fireAll(world);
  }
  for (const late of [...world.late]) arrive(world, late);
  await world.driveAll(() => true);
}

const isResolved = (world: World): boolean =>
  world.shards.every(({ prepared }) => prepared.size === 0) &&
  world.living.every(({ decisions }) => decisions.unconcluded().length === 0);

function arrive(world: World, late: World["late"][number]): void {
  for (let parts = 0; parts < 3 && world.late.includes(late) && world.canExecuteLate(late); parts += 1)
    world.executeLate(late);
  if (world.late.includes(late)) world.dropLate(late);
}

/** A backend whose client is gone notices that at last. */
function endWhatBlocks(world: World): void {
  for (const late of [...world.late])
    if (late.backend.isHalfway || !late.backend.isAlive) world.dropLate(late);
}

/** Leases of epochs that no living process has are over everywhere. */
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
