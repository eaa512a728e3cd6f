/**
 * The logs of processes that hand over to each other, in one directory.
 *
 * One process can play several: a lock names a process, so that of a log whose owner is to be dead is changed to name one
 * that never was.
 */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { type Gtrid, gidOf, gtridOf, shardId, xidOf } from "../../src/base/brands.ts";
import { Fault } from "../../src/base/fault.ts";
import { silentLog } from "../../src/observe/log.ts";
import type { Participant } from "../../src/txn/decisionLog.ts";
import { FileLog, type FileLogOptions } from "../../src/txn/fileLog/fileLog.ts";
import type { LogDisk } from "../../src/txn/fileLog/logDisk.ts";
import { NODE_DISK } from "../../src/txn/fileLog/nodeDisk.ts";

const FIRST = 100;
const SECOND = 200;
const THIRD = 300;
const nameOf = (epoch: number, seq = 1): Gtrid => gtridOf(`f:c:${epoch.toString(36)}:${seq}`);
const heirOf = (directory: string, epoch: number): string => join(directory, `heir-${epoch.toString(36)}`);

const participantsOf = (gtrid: Gtrid): readonly Participant[] => [
  { shard: shardId("east"), gid: gidOf(`pgxa:${gtrid}::east`), xid: xidOf("7"), server: "1/00000001" },
];

async function emptyDirectory(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "pgxa-family-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

const open = (directory: string, wallMs: number, more: Partial<FileLogOptions> = {}): Promise<FileLog> =>
  FileLog.open({ directory, wallMs, log: silentLog, faultPoint() {}, ...more });

const commit = (log: FileLog, gtrid: Gtrid) => log.decide(gtrid, "commit", participantsOf(gtrid));

/** The process that has the lock of `directory` is gone, as kill -9 leaves it. */
const die = (directory: string): Promise<void> =>
  writeFile(join(directory, "owner"), JSON.stringify({ pid: process.pid, started: "before the last boot" }));

const isOwned = (error: unknown): boolean => error instanceof Fault && error.id === "log.owned";

/** Two processes: the first, and its heir; each with a commit of its own that is not concluded. */
async function two(t: TestContext) {
  const directory = await emptyDirectory(t);
  const first = await open(directory, FIRST);
  await commit(first, nameOf(FIRST));
  const second = await open(directory, SECOND, { heirAfter: first.latestEpoch });
  // Those that are closed in the test already say so.
  t.after(() => Promise.allSettled([first.close(), second.close()]));
  await commit(second, nameOf(SECOND));
  return { directory, first, second };
}

test("an heir has a log of its own and an epoch after that of the process before it", async (t) => {
  const { directory, first, second } = await two(t);
  assert.deepEqual([first.epoch, second.epoch], [FIRST, SECOND]);
  const other = await open(directory, 1, { heirAfter: second.latestEpoch });
  assert.equal(other.epoch, SECOND + 1, "although the clock was set back");
  assert.ok(existsSync(heirOf(directory, SECOND)));
  for (const log of [other, second, first]) await log.close();
});

test("while both live each answers for its own epoch, and the first for those before", async (t) => {
  const { first, second } = await two(t);
  for (const log of [first, second]) await log.survey();
  const epochs = [FIRST - 1, FIRST, SECOND, SECOND + 1];
  assert.deepEqual(
    epochs.map((epoch) => first.answersFor(epoch)),
    [true, true, false, false],
  );
  assert.deepEqual(
    epochs.map((epoch) => second.answersFor(epoch)),
    [false, false, true, false],
  );
  await second.close();
  await first.close();
});

test("the heir takes over from a process that ended, and from one that was killed", async (t) => {
  for (const isKilled of [false, true]) {
    const { directory, first, second } = await two(t);
    if (isKilled) await die(directory);
    else await first.close();
    assert.ok(!second.answersFor(FIRST), "not before it has looked");
    await second.survey();
    assert.ok(second.answersFor(FIRST) && second.answersFor(1));
    assert.deepEqual(
      second.unconcluded().map(({ gtrid }) => gtrid),
      [nameOf(SECOND), nameOf(FIRST)],
    );
    assert.equal(second.lookup(nameOf(FIRST, 2), FIRST), "absent");
    assert.equal(second.lookup(nameOf(1), 1), "unknowable", "from before the first log");
    assert.equal(second.epoch, SECOND);
    assert.deepEqual((await readdir(directory)).sort(), [`heir-${SECOND.toString(36)}`, "owner"]);
    await assert.rejects(open(directory, THIRD), isOwned);
    await second.close();
    const next = await open(directory, THIRD);
    assert.equal(next.unconcluded().length, 2);
    assert.equal(next.lookup(nameOf(FIRST), FIRST), "commit");
    assert.deepEqual((await readdir(directory)).length, 2, "one segment and the lock");
    await next.close();
  }
});

test("the first process takes over from an heir that died, and goes on under its own epoch", async (t) => {
  const { directory, first } = await two(t);
  await first.survey();
  await die(heirOf(directory, SECOND));
  assert.ok(!first.answersFor(SECOND));
  await first.survey();
  assert.ok(first.answersFor(SECOND));
  assert.equal(first.lookup(nameOf(SECOND), SECOND), "commit");
  assert.equal(first.lookup(nameOf(SECOND, 2), SECOND), "absent");
  assert.deepEqual([first.epoch, first.latestEpoch], [FIRST, SECOND]);
  assert.ok(!existsSync(heirOf(directory, SECOND)));
  const third = await open(directory, 1, { heirAfter: first.latestEpoch });
  assert.equal(third.epoch, SECOND + 1);
  await third.close();
  await first.close();
});

test("of three the one that is responsible takes over from the one in the middle", async (t) => {
  const { directory, first, second } = await two(t);
  const third = await open(directory, THIRD, { heirAfter: second.latestEpoch });
  await second.close();
  await third.survey();
  assert.ok(!third.answersFor(SECOND), "the first lives");
  await first.survey();
  assert.ok(first.answersFor(SECOND) && !first.answersFor(THIRD));
  await first.close();
  await third.survey();
  assert.ok(third.answersFor(SECOND) && third.answersFor(FIRST));
  assert.equal(third.unconcluded().length, 2);
  await third.close();
});

test("an ordinary start is refused while an heir lives, and takes over everything once none does", async (t) => {
  const { directory, first, second } = await two(t);
  await first.close();
  await assert.rejects(open(directory, THIRD), isOwned);
  assert.deepEqual(
    (await readdir(directory)).filter((name) => name === "owner"),
    [],
    "what was locked is free again",
  );
  await die(heirOf(directory, SECOND));
  const third = await open(directory, 1);
  assert.equal(third.epoch, SECOND + 1);
  assert.deepEqual(
    third
      .unconcluded()
      .map(({ gtrid }) => gtrid)
      .sort(),
    [nameOf(FIRST), nameOf(SECOND)].sort(),
  );
  assert.ok(!existsSync(heirOf(directory, SECOND)));
  assert.ok(second.isSound);
  await third.close();
});

test("a log that was taken over, but whose files are still there, is taken over again", async (t) => {
  const { directory, first, second } = await two(t);
  const heir = heirOf(directory, SECOND);
  await second.close();
  const copy = await readFile(join(heir, "decisions-0000000001.log"));
  await first.survey();
  await mkdir(heir);
  await writeFile(join(heir, "decisions-0000000001.log"), copy);
  await first.survey();
  assert.equal(first.unconcluded().length, 2);
  await first.close();
});

test("an heir that died while it made its log leaves nothing to be known", async (t) => {
  const directory = await emptyDirectory(t);
  const first = await open(directory, FIRST);
  for (const content of [null, "", "PGXA"]) {
    await mkdir(heirOf(directory, SECOND));
    if (content !== null)
      await writeFile(join(heirOf(directory, SECOND), "decisions-0000000001.log"), content);
    await first.survey();
    assert.ok(!first.answersFor(SECOND));
    assert.equal(first.lookup(nameOf(1), 1), "unknowable");
    assert.ok(!existsSync(heirOf(directory, SECOND)));
  }
  await first.close();
});

test("a damaged log of an heir makes its decisions unknowable, and no others of this epoch", async (t) => {
  const { directory, first, second } = await two(t);
  await commit(second, nameOf(SECOND, 2));
  await second.close();
  const path = join(heirOf(directory, SECOND), "decisions-0000000001.log");
  const bytes = await readFile(path);
  bytes[bytes.indexOf(`${nameOf(SECOND)}"`)]! ^= 1;
  await writeFile(path, bytes);
  await first.survey();
  assert.equal(first.lookup(nameOf(SECOND, 2), SECOND), "commit");
  assert.equal(first.lookup(nameOf(SECOND), SECOND), "unknowable");
  assert.equal(first.lookup(nameOf(FIRST, 2), FIRST), "absent");
  assert.equal((await readdir(directory)).filter((name) => name.endsWith(".damaged")).length, 1);
  await first.close();
});

test("decisions of a log that cannot be read are left to whoever can", async (t) => {
  const { directory, first, second } = await two(t);
  await second.close();
  const path = join(heirOf(directory, SECOND), "decisions-0000000001.log");
  const bytes = await readFile(path);
  await rm(path);
  await mkdir(path);
  await first.survey();
  assert.ok(!first.answersFor(SECOND));
  await rm(path, { recursive: true });
  await writeFile(path, bytes);
  await first.survey();
  assert.equal(first.lookup(nameOf(SECOND), SECOND), "commit");
  await first.close();
});

/** A moment that is held until the test goes on. */
class Held {
  #begin = (): void => {};
  end = (): void => {};
  readonly waiting = new Promise<void>((resolve) => {
    this.#begin = resolve;
  });
  readonly #ended = new Promise<void>((resolve) => {
    this.end = resolve;
  });

  wait(): Promise<void> {
    this.#begin();
    return this.#ended;
  }
}

test("who becomes responsible answers for nobody before it has read the log of the one that was", async (t) => {
  const { directory, first, second } = await two(t);
  const held = new Held();
  const slow: LogDisk = {
    ...NODE_DISK,
    async read(path) {
      if (path.startsWith(heirOf(directory, SECOND))) await held.wait();
      return NODE_DISK.read(path);
    },
  };
  const third = await open(directory, THIRD, { disk: slow, heirAfter: second.latestEpoch });
  await first.close();
  await second.survey();
  assert.equal(second.lookup(nameOf(FIRST, 2), FIRST), "absent");
  await second.close();
  const surveyed = third.survey();
  await held.waiting;
  assert.ok(!third.answersFor(FIRST) && !third.answersFor(SECOND), "it would not know what was decided");
  held.end();
  await surveyed;
  assert.ok(third.answersFor(FIRST) && third.answersFor(SECOND));
  assert.equal(third.lookup(nameOf(FIRST, 2), FIRST), "absent");
  assert.equal(third.lookup(nameOf(SECOND), SECOND), "commit");
  await third.close();
});

test("what is learned of an heir while the next segment is begun is in that segment, too", async (t) => {
  const directory = await emptyDirectory(t);
  const held = new Held();
  const slow: LogDisk = {
    ...NODE_DISK,
    async create(path) {
      if (path.endsWith("decisions-0000000002.log")) await held.wait();
      return NODE_DISK.create(path);
    },
  };
  const first = await open(directory, FIRST, { disk: slow, segmentBytesMax: 600 });
  const second = await open(directory, SECOND, { heirAfter: first.latestEpoch });
  await commit(second, nameOf(SECOND));
  await second.close();
  for (let seq = 1; seq <= 8; seq += 1) await commit(first, nameOf(FIRST, seq));
  await held.waiting;
  await first.survey();
  held.end();
  for (let seq = 9; !(await readdir(directory)).includes("decisions-0000000003.log"); seq += 1) {
    assert.ok(seq < 1_000, "the next segment is used");
    await commit(first, nameOf(FIRST, seq));
  }
  await first.close();
  const next = await open(directory, THIRD);
  assert.equal(next.lookup(nameOf(SECOND), SECOND), "commit");
  assert.equal(next.lookup(nameOf(SECOND, 2), SECOND), "absent");
  await next.close();
});
