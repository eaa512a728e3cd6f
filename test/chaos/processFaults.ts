/** What happens to processes: pgxa and shards are killed, sleep, lose single backends, and run out of disk. */
import { setTimeout as delay } from "node:timers/promises";
import { childrenOf, isAlive, signalProcess } from "../../src/cli/osProcess.ts";
import type { ChaosStage, Pgxa } from "./chaosStage.ts";
import { choose, type Fault, nothing, repeatedly, type Scene, type Strike } from "./fault.ts";
import type { ShardWatch } from "./shardWatch.ts";

const PATIENCE_MS = 5_000;

type OfPgxa = (pgxa: Pgxa, scene: Scene) => Promise<Strike>;
type OfShard = (watch: ShardWatch, scene: Scene) => Promise<Strike>;

/** Strikes a pgxa that this phase has not struck yet. */
const onPgxa =
  (strike: OfPgxa) =>
  (scene: Scene): Promise<Strike> => {
    const index = choose(scene, "pgxa", scene.stage.pgxas.length);
    return index === null ? Promise.resolve(nothing) : strike(scene.stage.pgxas[index]!, scene);
  };

const onShard =
  (strike: OfShard) =>
  (scene: Scene): Promise<Strike> => {
    const index = choose(scene, "shard", scene.stage.watches.length);
    return index === null ? Promise.resolve(nothing) : strike(scene.stage.watches[index]!, scene);
  };

const killPgxa = onPgxa(async ({ process }) => {
  await process.kill();
  return { what: `pgxa ${process.name}`, heal: () => process.start() };
});

const stopPgxa = onPgxa(async ({ process }) => {
  process.signal("SIGSTOP");
  return { what: `pgxa ${process.name}`, heal: async () => process.signal("SIGCONT") };
});

const restartPgxa = onPgxa(async ({ process }) => {
  await process.restartOnline();
  return { what: `pgxa ${process.name}`, heal: async () => {} };
});

const fillPgxa = onPgxa(async ({ process, disk }) => {
  disk!.fill();
  const heal = async (): Promise<void> => {
    disk!.free();
    if (process.isUp) await process.kill();
    await process.start();
  };
  return { what: `the decision log of ${process.name}`, heal };
});

const killShard = onShard(async ({ shard }) => {
  await shard.kill("SIGKILL");
  return { what: shard.id, heal: () => shard.restart() };
});

const stopShard = onShard(async ({ shard }) => {
  shard.signalAll("SIGSTOP");
  return { what: shard.id, heal: async () => shard.signalAll("SIGCONT") };
});

const stopBackends = onShard(async ({ shard }, { random }) => {
  const chosen = childrenOf(shard.serverPid!).filter(() => random.chance(0.4));
  for (const pid of chosen) signalProcess(pid, "SIGSTOP");
  const heal = async (): Promise<void> => {
    for (const pid of chosen) signalProcess(pid, "SIGCONT");
  };
  return { what: `${chosen.length} processes of ${shard.id}`, heal };
});

/** Ends backends of clients that `where` describes, again and again. */
const terminateBackends = (where: string, everyMs: number) =>
  onShard(async (watch) => {
    const text = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND ${where}`;
    const stop = repeatedly(() => watch.query(text), everyMs);
    return { what: watch.shard.id, heal: stop };
  });

/** Commits wait for a standby that is not there; some of those that wait are ended, and are committed all the same. */
const awaitStandby = onShard(async (watch) => {
  await watch.query("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
  await watch.query("SELECT pg_reload_conf()");
  const text = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND random() < 0.3`;
  const stop = repeatedly(() => watch.query(text), 200);
  const heal = async (): Promise<void> => {
    await stop();
    await watch.query("ALTER SYSTEM RESET synchronous_standby_names");
    await watch.query("SELECT pg_reload_conf()");
  };
  return { what: watch.shard.id, heal };
});

/** Its data files cannot grow, and soon no segment of its write-ahead log can be made: then it panics. */
async function fillShard({ stage, struck }: Scene): Promise<Strike> {
  const part = `shard ${stage.watches.length - 1}`;
  if (struck.has(part)) return nothing;
  struck.add(part);
  const watch = stage.watches.at(-1)!;
  const { shard } = watch;
  const pid = shard.serverPid!;
  stage.shardDisk!.fill();
  const stop = repeatedly(() => watch.query("SELECT pg_switch_wal()"), 300);
  const heal = async (): Promise<void> => {
    await stop();
    stage.shardDisk!.free();
    const untilMs = performance.now() + PATIENCE_MS;
    while (isAlive(pid) && performance.now() < untilMs) {
      if (await isWriting(watch)) return;
      await delay(100);
    }
    await shard.restart();
  };
  return { what: shard.id, heal };
}

const isWriting = (watch: ShardWatch): Promise<boolean> =>
  watch.query("SELECT pg_switch_wal()").then(
    () => true,
    () => false,
  );

const lacksDisk = ({ shardDisk }: ChaosStage): string | null =>
  shardDisk === null ? "no small disk can be mounted here" : null;

export const PROCESS_FAULTS: readonly Fault[] = [
  {
    name: "pgxa-kill",
    about: "pgxa is killed (SIGKILL) and started again",
    lastsMs: [0, 2_500],
    strike: killPgxa,
  },
  {
    name: "pgxa-stop",
    about: "pgxa is held still (SIGSTOP) beyond its lease and goes on",
    lastsMs: [1_500, 4_000],
    strike: stopPgxa,
  },
  {
    name: "pgxa-restart",
    about: "pgxa is restarted online (SIGUSR2)",
    lastsMs: [200, 1_000],
    strike: restartPgxa,
  },
  {
    name: "pgxa-disk",
    about: "the disk of pgxa's decision log is full, until pgxa is killed and started again",
    lastsMs: [1_000, 3_000],
    whyNot: (stage) => (stage.log === "shard" ? "pgxa needs no disk with this log" : lacksDisk(stage)),
    strike: fillPgxa,
  },
  {
    name: "shard-kill",
    about: "every process of a shard is killed (SIGKILL), and it recovers",
    lastsMs: [0, 2_500],
    strike: killShard,
  },
  {
    name: "shard-stop",
    about: "every process of a shard is held still",
    lastsMs: [1_000, 5_000],
    strike: stopShard,
  },
  {
    name: "backends-stop",
    about: "some processes of a shard are held still, the others work on",
    lastsMs: [1_000, 5_000],
    strike: stopBackends,
  },
  {
    name: "backends-end",
    about: "random backends of a shard are terminated",
    lastsMs: [1_000, 4_000],
    strike: terminateBackends("random() < 0.2", 150),
  },
  {
    name: "prepare-end",
    about: "backends are terminated while PREPARE or COMMIT runs",
    lastsMs: [1_500, 4_000],
    strike: terminateBackends("state = 'active' AND query ~* '(prepare transaction|commit)'", 5),
  },
  {
    name: "standby-lost",
    about:
      "commits on a shard wait for a synchronous standby that is gone; some are terminated while they wait",
    lastsMs: [1_000, 5_000],
    strike: awaitStandby,
  },
  {
    name: "shard-disk",
    about: "the disk of a shard is full: statements fail, then it panics",
    lastsMs: [2_000, 4_000],
    whyNot: lacksDisk,
    strike: fillShard,
  },
];
