// Pure.
/** Everything that may happen next in a world, each with an id that says what it is. */
import type { Transition, TransitionKind } from "./choice.ts";
import type { SetTimer } from "./simulatedClock.ts";
import type { SimulatedLink } from "./simulatedLink.ts";
import { LEASE_MS, OLD_INTERVAL_MS, type SimulatedProcess } from "./simulatedProcess.ts";
import { inWords, isFarReaching } from "./statements.ts";
import type { World } from "./world.ts";

export function transitionsOf(world: World): readonly Transition[] {
  const found = [
    ...world.living.flatMap((process) => ofProcess(world, process)),
    ...lateOnes(world),
    ...restarts(world),
    ...shardFaults(world),
  ];
  const isAtRest = found.every(({ kind }) => kind !== "execute" && kind !== "hear" && kind !== "sync");
  return isAtRest ? [...found, global("rest", "rest all", "faults are over, all comes to rest")] : found;
}

const global = (kind: TransitionKind, id: string, words: string): Transition => ({
  ...{ id, kind, words },
  process: null,
  shard: null,
  isGlobal: true,
});

function ofProcess(world: World, process: SimulatedProcess): readonly Transition[] {
  const { name } = process;
  const found = process.links.flatMap((link) => ofLink(world, process, link));
  for (const timer of process.clock.timers.values()) {
    const transition = ofTimer(world, process, timer);
    if (transition !== null) found.push(transition);
  }
  if (process.isWaitingForDisk) {
    const words = `${name}'s disk has made its log durable`;
    found.push({ id: `sync ${name}`, kind: "sync", process: name, shard: null, isGlobal: false, words });
  }
  const mayCrash = world.options.crashing?.includes(name) ?? true;
  if (!mayCrash || world.left("crash") <= 0) return found;
  found.push(global("crash", `crash ${name}`, `${name} crashes`));
  if (process.options.disk.hasWritten) {
    found.push(global("crash", `crash ${name} kept`, `${name} crashes; what it wrote to its log was synced`));
  }
  return found;
}

function ofLink(world: World, process: SimulatedProcess, link: SimulatedLink): Transition[] {
  const { name, shard, sql } = link;
  const found: Transition[] = [];
  const what = `${name}: ${inWords(sql)}`;
  if (link.canExecute) {
    found.push({
      ...{ id: `execute ${name}`, kind: "execute" as const, words: `${shard.id} executes ${what}` },
      ...{ process: null, shard: shard.id, isGlobal: isFarReaching(sql) },
    });
  }
  if (link.canBeHeard) {
    const words = link.isAnswered
      ? `${process.name} hears the answer to ${what}`
      : `${process.name} hears that ${name} is gone`;
    found.push({
      id: `hear ${name}`,
      kind: "hear",
      process: process.name,
      shard: null,
      isGlobal: false,
      words,
    });
  }
  if (link.isIdle || !link.backend?.isAlive) return found;
  if (world.left("loss") > 0) found.push(global("loss", `loss ${name}`, `the connection is lost: ${what}`));
  if (world.left("duplicate") > 0 && link.canExecute && link.isKept) {
    found.push(global("duplicate", `duplicate ${name}`, `${shard.id} executes it once more: ${what}`));
  }
  return found;
}

const LOOK_MS = 1_000;
const ENOUGH_MS = 2_000;

/** What goes off by itself and again and again has a budget; what only ends a wait has none. */
export function kindOfTimer({ delayMs }: SetTimer): TransitionKind | null {
  switch (delayMs) {
    case 0: // the resolver was woken
    case 20: // between two looks whether a backend is gone
    case 50: // between two askings back
      return "timer";
    case LEASE_MS / 3:
      return "renewal";
    case LOOK_MS:
      return "slowLook";
    case OLD_INTERVAL_MS:
      return "oldLook";
    case ENOUGH_MS:
      return null;
    default:
      return "sweep";
  }
}

function ofTimer(world: World, process: SimulatedProcess, timer: SetTimer): Transition | null {
  const kind = kindOfTimer(timer);
  if (kind === null || (kind !== "timer" && world.left(kind) <= 0)) return null;
  return {
    ...{
      id: `${kind} ${process.name} ${timer.id}`,
      kind,
      words: `${process.name}: a timer goes off (${kind}, ${timer.id})`,
    },
    ...{ process: process.name, shard: null, isGlobal: kind !== "timer" },
  };
}

function lateOnes(world: World): readonly Transition[] {
  return world.late.flatMap((late): readonly Transition[] => {
    const { name, shard, sql } = late;
    const common = { process: null, shard: shard.id, isGlobal: isFarReaching(sql) };
    const what = `${name}: ${inWords(sql)}`;
    const vanish = {
      ...common,
      id: `vanish ${name}`,
      kind: "vanish" as const,
      words: `it never arrives: ${what}`,
    };
    if (!world.canExecuteLate(late)) return [vanish];
    const words = `${shard.id} executes it late: ${what}`;
    return [{ ...common, id: `late ${name}`, kind: "late" as const, words }, vanish];
  });
}

function restarts(world: World): readonly Transition[] {
  return [...world.processes]
    .filter(([, process]) => process === null)
    .map(([name]) => global("restart", `restart ${name}`, `${name} starts again`));
}

function shardFaults(world: World): readonly Transition[] {
  return world.shards.flatMap(({ id, owners }) => {
    const found: Transition[] = [];
    if (world.left("shardCrash") > 0)
      found.push(global("shardCrash", `shardCrash ${id}`, `${id} crashes and comes back`));
    if (world.left("failover") > 0) {
      const words = `${id} fails over to a standby that lacks what was prepared`;
      found.push(global("failover", `failover ${id} losing`, words));
    }
    if (world.left("expiry") <= 0) return found;
    const names = new Set([...owners.values()].filter((one) => !one.isExpired).map((one) => one.coordinator));
    for (const name of names) {
      const words = `on ${id} time passes: the lease of ${name} is over, what is prepared is old`;
      found.push(global("expiry", `expiry ${id} ${name}`, words));
    }
    return found;
  });
}
