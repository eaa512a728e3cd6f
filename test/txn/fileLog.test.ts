import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, unlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { type Gtrid, gidOf, gtridOf, shardId, xidOf } from "../../src/base/brands.ts";
import { Fault } from "../../src/base/fault.ts";
import type { FaultPoint } from "../../src/base/faultPoint.ts";
import { type Log, silentLog } from "../../src/observe/log.ts";
import type { Participant } from "../../src/txn/decisionLog.ts";
import { FileLog, type FileLogOptions } from "../../src/txn/fileLog/fileLog.ts";
import { encodeFrame, MAGIC, readSegment } from "../../src/txn/fileLog/segment.ts";

const A = gtridOf("f:c:1:1");
const B = gtridOf("f:c:1:2");
const C = gtridOf("f:c:1:3");

const participantsOf = (gtrid: Gtrid): readonly Participant[] => [
  { shard: shardId("east"), gid: gidOf(`pgxa:${gtrid}::east`), xid: xidOf("7"), server: "1/00000001" },
  { shard: shardId("west"), gid: gidOf(`pgxa:${gtrid}::west`), xid: xidOf("8"), server: "2/00000001" },
];

async function emptyDirectory(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "pgxa-log-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

const openLog = (directory: string, wallMs: number, more: Partial<FileLogOptions> = {}): Promise<FileLog> =>
  FileLog.open({ directory, wallMs, log: silentLog, faultPoint() {}, ...more });

const commit = (log: FileLog, gtrid: Gtrid) => log.decide(gtrid, "commit", participantsOf(gtrid));

const segmentsOf = async (directory: string): Promise<string[]> =>
  (await readdir(directory))
    .filter((name) => name.endsWith(".log"))
    .map((name) => join(directory, name))
    .sort();

/** A log that notes the events given to it. */
function notingLog(): { readonly log: Log; readonly events: string[] } {
  const events: string[] = [];
  const note = (event: string) => void events.push(event);
  return { log: { debug: note, info: note, warn: note, error: note, setLevel() {} }, events };
}

/** A log of epoch 100 that has decided A, B and C; returns its one segment. */
async function decideThree(directory: string): Promise<string> {
  const log = await openLog(directory, 100);
  for (const gtrid of [A, B, C]) assert.equal(await commit(log, gtrid), "commit");
  await log.close();
  return (await segmentsOf(directory))[0]!;
}

test("a decision is found by the next start, with its participants", async (t) => {
  const directory = await emptyDirectory(t);
  await decideThree(directory);
  const log = await openLog(directory, 200);
  assert.deepEqual(
    log.unconcluded(),
    [A, B, C].map((gtrid) => ({ gtrid, participants: participantsOf(gtrid) })),
  );
  assert.deepEqual(log.unconcludedParticipants(B), participantsOf(B));
  assert.equal(log.unconcludedParticipants(gtridOf("f:c:1:9")), null);
  assert.equal(log.lookup(A, 100), "commit");
  assert.equal(log.lookup(gtridOf("f:c:2s:9"), 100), "absent");
  await log.close();
});

test("the epoch grows with every start, even if the clock goes back", async (t) => {
  const directory = await emptyDirectory(t);
  for (const [wallMs, epoch] of [
    [100, 100],
    [90, 101],
    [90, 102],
    [500, 500],
    [0, 501],
  ] as const) {
    const log = await openLog(directory, wallMs);
    assert.equal(log.epoch, epoch);
    await log.close();
  }
});

test("of transactions older than the log nothing is known: abort is not presumed", async (t) => {
  const log = await openLog(await emptyDirectory(t), 100);
  assert.equal(log.lookup(A, 99), "unknowable");
  assert.equal(log.lookup(A, 100), "absent");
  await log.close();
});

test("the first decision wins, whichever it is", async (t) => {
  const log = await openLog(await emptyDirectory(t), 100);
  assert.equal(await log.decide(A, "abort", []), "abort");
  assert.equal(await commit(log, A), "abort");
  assert.equal(log.lookup(A, 100), "abort");
  const running = commit(log, B);
  assert.equal(log.lookup(B, 100), "unknowable");
  assert.equal(await log.decide(B, "abort", []), "commit");
  assert.equal(await running, "commit");
  assert.equal(await log.decide(B, "abort", []), "commit");
  await log.close();
});

test("decisions that arrive while the disk is busy share one sync", async (t) => {
  const log = await openLog(await emptyDirectory(t), 100);
  const decisions = Array.from({ length: 200 }, (_, i) => commit(log, gtridOf(`f:c:2s:${i}`)));
  assert.deepEqual(new Set(await Promise.all(decisions)), new Set(["commit"]));
  assert.ok(log.syncs <= 2, `${log.syncs} syncs`);
  await log.close();
});

test("a decision made in answer to another one is made durable too", async (t) => {
  const log = await openLog(await emptyDirectory(t), 100);
  for (let i = 0; i < 50; i += 1)
    await commit(log, gtridOf(`f:c:2s:${i}`)).then(() => commit(log, gtridOf(`f:c:2s:x${i}`)));
  await log.close();
});

test("fault points are passed in the order write, sync, told", async (t) => {
  const passed: string[] = [];
  const log = await openLog(await emptyDirectory(t), 100, { faultPoint: (point) => void passed.push(point) });
  await commit(log, A).then(() => passed.push("told"));
  await log.close();
  assert.deepEqual(passed, ["decision.before-write", "decision.before-sync", "decision.after-sync", "told"]);
});

for (const failsAt of [
  "decision.before-write",
  "decision.before-sync",
] as const satisfies readonly FaultPoint[]) {
  test(`a disk that fails at ${failsAt} is fatal: nobody is told an outcome, nothing is decided any more`, async (t) => {
    const directory = await emptyDirectory(t);
    const noted = notingLog();
    const faultPoint = (point: FaultPoint) => {
      if (point === failsAt) throw new Error("no space left on device");
    };
    const log = await openLog(directory, 100, { faultPoint, log: noted.log });
    const isLogFailed = (error: unknown) => error instanceof Fault && error.id === "commit.log_failed";
    await assert.rejects(commit(log, A), isLogFailed);
    assert.equal(log.isSound, false);
    // Nothing of B is ever written: that it is aborted is certain.
    await assert.rejects(commit(log, B), { id: "commit.log_stopped" });
    assert.equal(log.lookup(B, 100), "abort");
    assert.equal(await log.decide(B, "abort", []), "abort");
    assert.deepEqual(noted.events, ["log.opened", "log.failed"]);
    // It may or may not be on the disk: only a restart will know, and until then nobody may roll back.
    assert.equal(log.lookup(A, 100), "unknowable");
    await assert.rejects(log.decide(A, "abort", []), isLogFailed);
    await log.close();
    const restarted = await openLog(directory, 200);
    assert.equal(restarted.lookup(A, 100), failsAt === "decision.before-write" ? "absent" : "commit");
    await restarted.close();
  });
}

test("a tail torn at any byte loses at most the last decision and is no damage", async (t) => {
  const directory = await emptyDirectory(t);
  const path = await decideThree(directory);
  const bytes = await readFile(path);
  const frames = readSegment(bytes).frames;
  const beforeC = frames.find(({ entries }) =>
    entries.some((one) => "gtrid" in one && one.gtrid === C),
  )!.offset;
  const afterC = frames.find(({ offset }) => offset === beforeC)!.end;
  for (let end = beforeC; end < afterC; end += 1) {
    for (const segment of await segmentsOf(directory)) await unlink(segment);
    await writeFile(path, bytes.subarray(0, end));
    const noted = notingLog();
    const log = await openLog(directory, 200, { log: noted.log });
    assert.deepEqual(
      [A, B, C].map((gtrid) => log.lookup(gtrid, 100)),
      ["commit", "commit", "absent"],
      `cut at ${end}`,
    );
    assert.equal(noted.events.includes("log.tail_cut"), end > beforeC);
    assert.equal(noted.events.includes("log.damaged"), false);
    assert.equal(await commit(log, gtridOf("f:c:5k:1")), "commit");
    await log.close();
  }
});

/** Flips a bit of B's decision, which has C's behind it. */
async function damage(path: string): Promise<void> {
  const bytes = await readFile(path);
  bytes[bytes.indexOf(B)]! ^= 1;
  await writeFile(path, bytes);
}

test("a bad record before a good one is damage: what it may have held is not presumed aborted, the rest goes on", async (t) => {
  const directory = await emptyDirectory(t);
  await damage(await decideThree(directory));
  const noted = notingLog();
  const log = await openLog(directory, 200, { log: noted.log });
  assert.ok(noted.events.includes("log.damaged"));
  assert.deepEqual(
    [A, B, C].map((gtrid) => log.lookup(gtrid, 100)),
    ["commit", "unknowable", "commit"],
  );
  assert.equal(log.lookup(gtridOf("f:c:5j:1"), 199), "unknowable");
  assert.equal(log.lookup(gtridOf("f:c:5k:1"), 200), "absent");
  assert.equal(await commit(log, gtridOf("f:c:5k:2")), "commit");
  await log.close();
  assert.ok(
    (await readdir(directory)).some((name) => name.endsWith(".damaged")),
    "the damaged segment is kept",
  );

  const later = await openLog(directory, 300);
  assert.deepEqual(
    [A, B, C].map((gtrid) => later.lookup(gtrid, 100)),
    ["commit", "unknowable", "commit"],
  );
  assert.equal(later.lookup(gtridOf("f:c:5k:1"), 200), "absent");
  await later.close();
});

test("a start that dies on a damaged log leaves the damage for the next one to find", async (t) => {
  const directory = await emptyDirectory(t);
  await damage(await decideThree(directory));
  const dies: Log = {
    ...silentLog,
    error() {
      throw new Error("died");
    },
  };
  await assert.rejects(openLog(directory, 200, { log: dies }), /died/);
  const diesLater: FileLogOptions = {
    directory,
    log: silentLog,
    faultPoint() {},
    get wallMs(): number {
      throw new Error("died");
    },
  };
  await assert.rejects(FileLog.open(diesLater), /died/);
  const log = await openLog(directory, 300);
  assert.deepEqual(
    [A, B, C].map((gtrid) => log.lookup(gtrid, 100)),
    ["commit", "unknowable", "commit"],
  );
  await log.close();
});

test("a segment that was being made when the process died counts for nothing", async (t) => {
  const directory = await emptyDirectory(t);
  await decideThree(directory);
  const opening = {
    kind: "open",
    epoch: 300,
    known: [[100, 300]],
    gaps: [],
    segment: 2,
    writer: 300,
  } as const;
  const next = Buffer.concat([MAGIC, encodeFrame([opening, { kind: "begun" }], MAGIC.length)]);
  for (let end = 0; end < next.length; end += 1) {
    await writeFile(join(directory, "decisions-0000000002.log"), next.subarray(0, end));
    const noted = notingLog();
    const log = await openLog(directory, 200, { log: noted.log });
    assert.deepEqual(
      [A, B, C].map((gtrid) => log.lookup(gtrid, 100)),
      ["commit", "commit", "commit"],
      `cut at ${end}`,
    );
    assert.equal(noted.events.includes("log.damaged"), false);
    await log.close();
    for (const segment of await segmentsOf(directory)) await unlink(segment);
    await decideThree(directory);
  }
});

test("an old segment that was not removed in time is not believed over its successor, whatever state it is in", async (t) => {
  const directory = await emptyDirectory(t);
  const path = await decideThree(directory);
  const old = await readFile(path);
  const log = await openLog(directory, 200);
  log.conclude(A);
  await log.close();
  await writeFile(path, old.subarray(0, -3));
  const noted = notingLog();
  const next = await openLog(directory, 300, { log: noted.log });
  assert.deepEqual(
    [A, B, C].map((gtrid) => next.lookup(gtrid, 100)),
    ["absent", "commit", "commit"],
  );
  assert.equal(noted.events.includes("log.damaged"), false);
  await next.close();
});

test("what is concluded is forgotten, over restarts too", async (t) => {
  const directory = await emptyDirectory(t);
  await decideThree(directory);
  const log = await openLog(directory, 200);
  log.conclude(B);
  log.conclude(B);
  assert.deepEqual(
    log.unconcluded().map(({ gtrid }) => gtrid),
    [A, C],
  );
  await log.close();
  const next = await openLog(directory, 300);
  assert.deepEqual(
    next.unconcluded().map(({ gtrid }) => gtrid),
    [A, C],
  );
  await next.close();
});

test("a log that goes on for long stays small and keeps what is not concluded", async (t) => {
  const directory = await emptyDirectory(t);
  const log = await openLog(directory, 100, { segmentBytesMax: 2_000 });
  await commit(log, A);
  for (let i = 0; i < 100; i += 1) {
    const gtrid = gtridOf(`f:c:2s:${i}`);
    await commit(log, gtrid);
    log.conclude(gtrid);
  }
  await log.close();
  const segments = await segmentsOf(directory);
  assert.equal(segments.length, 1);
  assert.ok((await readFile(segments[0]!)).length < 4_000);
  const next = await openLog(directory, 200);
  assert.deepEqual(
    next.unconcluded().map(({ gtrid }) => gtrid),
    [A],
  );
  await next.close();
});

test("aborts that are remembered are bounded", async (t) => {
  const log = await openLog(await emptyDirectory(t), 100);
  for (let i = 0; i < 200_000; i += 1) void log.decide(gtridOf(`f:c:2s:${i}`), "abort", []);
  assert.equal(log.lookup(gtridOf("f:c:2s:199999"), 100), "abort");
  assert.equal(log.lookup(gtridOf("f:c:2s:0"), 100), "absent");
  await log.close();
});

test("one process owns the directory; when it is closed another may", async (t) => {
  const directory = await emptyDirectory(t);
  const log = await openLog(directory, 100);
  await assert.rejects(
    openLog(directory, 100),
    (error: unknown) => error instanceof Fault && error.id === "log.owned",
  );
  assert.equal(await commit(log, A), "commit");
  await log.close();
  await (await openLog(directory, 200)).close();
});
