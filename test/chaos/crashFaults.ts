/**
 * Processes that die while what they said is still on its way, so that the moment between two messages of a commit is
 * long enough to be struck: some shards have heard the decision and others never will, or only after others have cleared
 * up behind the dead.
 */
import { setTimeout as delay } from "node:timers/promises";
import { choose, type Fault, nothing, type Scene, type Strike } from "./fault.ts";

/** For so long commits run into the obstacle before somebody dies, in ms. */
const BEFORE_MS = [200, 1_500] as const;

const before = ({ random }: Scene): Promise<void> =>
  delay(BEFORE_MS[0] + random.below(BEFORE_MS[1] - BEFORE_MS[0]));

async function killPgxaSlow(scene: Scene): Promise<Strike> {
  const { stage, random } = scene;
  const index = choose(scene, "pgxa", stage.pgxas.length);
  if (index === null) return nothing;
  const { process, back } = stage.pgxas[index]!;
  const link = random.pick(back);
  link.slow(50 + random.below(350), () => true);
  await before(scene);
  await process.kill();
  link.heal("reset"); // what was still on its way never arrives
  return { what: link.name, heal: () => process.start() };
}

async function killPgxaHeld(scene: Scene): Promise<Strike> {
  const { stage, random } = scene;
  const index = choose(scene, "pgxa", stage.pgxas.length);
  if (index === null) return nothing;
  const { process, back } = stage.pgxas[index]!;
  const link = random.pick(back);
  const isOnlyOld = random.chance(0.7);
  link.silence("requests", () => true, !isOnlyOld);
  await before(scene);
  await process.kill();
  const heal = async (): Promise<void> => {
    await process.start();
    await before(scene);
    link.heal("deliver");
  };
  return { what: `${link.name}, ${isOnlyOld ? "those that were open" : "all"}`, heal };
}

async function killShardHeld(scene: Scene): Promise<Strike> {
  const { stage, random } = scene;
  const index = choose(scene, "shard", stage.watches.length);
  if (index === null) return nothing;
  const { shard } = stage.watches[index]!;
  const which = random.pick(["requests", "replies"] as const);
  for (const { back } of stage.pgxas) back[index]!.silence(which, () => true, false);
  await before(scene);
  await shard.kill("SIGKILL");
  const heal = async (): Promise<void> => {
    await shard.restart();
    for (const { back } of stage.pgxas) back[index]!.heal("deliver");
  };
  return { what: `${shard.id}, ${which} held`, heal };
}

export const CRASH_FAULTS: readonly Fault[] = [
  {
    name: "pgxa-kill-slow",
    about:
      "pgxa is killed while a connection is slow, so that some of its commits have reached one shard only",
    lastsMs: [0, 2_500],
    strike: killPgxaSlow,
  },
  {
    name: "pgxa-kill-held",
    about: "pgxa is killed and started again, and only then arrives at a shard what it had sent before",
    lastsMs: [0, 2_500],
    strike: killPgxaHeld,
  },
  {
    name: "shard-kill-held",
    about:
      "a shard is killed while what it was told, or answered, is on its way; it arrives when the shard is back",
    lastsMs: [0, 2_000],
    strike: killShardHeld,
  },
];
