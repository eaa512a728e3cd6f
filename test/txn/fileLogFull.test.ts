/**
 * A full disk: new commits are refused at once and for sure, nothing that was decided is lost, and the log goes on when
 * there is room. On a simulated disk, and on a small file system of its own where root may mount one.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { unlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { type Gtrid, gidOf, shardId, xidOf } from "../../src/base/brands.ts";
import { Fault } from "../../src/base/fault.ts";
import { type Log, silentLog } from "../../src/observe/log.ts";
import { FileLog } from "../../src/txn/fileLog/fileLog.ts";
import type { LogDisk } from "../../src/txn/fileLog/logDisk.ts";
import { gtrid } from "../../src/txn/gid.ts";
import { SeededRandom } from "../sim/seededRandom.ts";
import { SimulatedDisk } from "../world/simulatedDisk.ts";

const nameOf = (seq: number): Gtrid => gtrid({ fleet: "f", coordinator: "c", epoch: 100, seq });

function commit(log: FileLog, seq: number): Promise<unknown> {
  const name = nameOf(seq);
  const one = { shard: shardId("east"), gid: gidOf(`pgxa:${name}::east`), xid: xidOf("7"), server: "1/1" };
  return log.decide(name, "commit", [one]);
}

const open = (directory: string, wallMs: number, disk?: LogDisk, log: Log = silentLog): Promise<FileLog> =>
  FileLog.open({ directory, wallMs, log, faultPoint() {}, ...(disk === undefined ? {} : { disk }) });

/** Decides 200 in groups of ten; returns what became of each: true, or the fault. */
async function load(log: FileLog, from: number): Promise<Map<number, true | Fault>> {
  const fates = new Map<number, true | Fault>();
  for (let seq = from; seq < from + 200; seq += 10) {
    await Promise.all(
      Array.from({ length: 10 }, async (_, i) => {
        fates.set(
          seq + i,
          await commit(log, seq + i).then(
            () => true as const,
            (error: Fault) => error,
          ),
        );
      }),
    );
  }
  return fates;
}

/** Fills the disk under load, and gives room again. */
async function fillAndFree(
  directory: string,
  disk: LogDisk | undefined,
  fill: () => Promise<void>,
  free: () => Promise<void>,
): Promise<void> {
  const events: string[] = [];
  const note = (event: string) => void events.push(event);
  const log = await open(directory, 100, disk, { ...silentLog, info: note, warn: note, error: note });
  const before = await load(log, 1);
  await fill();
  const during = await load(log, 1_001);
  assert.equal(log.isSound, false);
  const refused = [...during].filter(([, fate]) => fate !== true);
  assert.ok(refused.length > 0);
  for (const [seq, fate] of refused) {
    assert.ok(fate instanceof Fault && fate.id === "commit.log_full", String(fate));
    assert.equal(fate.sqlstate, "53100");
    assert.ok(fate.detail?.includes(directory) === true);
    assert.equal(log.lookup(nameOf(seq), 100), "abort", "not in doubt");
  }
  await log.survey();
  assert.equal(log.isSound, false, "while it is full");
  await free();
  await log.survey();
  assert.equal(log.isSound, true);
  assert.deepEqual(events, ["log.opened", "log.full", "log.resumed"]);
  const later = await load(log, 2_001);
  await log.close();
  const next = await open(directory, 200, disk);
  for (const [seq, fate] of [...before, ...during, ...later]) {
    assert.equal(next.lookup(nameOf(seq), 100), fate === true ? "commit" : "absent");
  }
  assert.ok([...before.values(), ...later.values()].every((fate) => fate === true));
  await next.close();
}

test("on a simulated disk", async () => {
  const disk = new SimulatedDisk(new SeededRandom(7));
  await fillAndFree(
    "/log",
    disk.process(),
    async () => void (disk.faults.capacityBytes = disk.usedBytes + 5_000),
    async () => void (disk.faults.capacityBytes = Number.POSITIVE_INFINITY),
  );
});

/** A file system of one megabyte; null where this process may not mount one. */
function smallDisk(t: TestContext): string | null {
  const place = mkdtempSync(join(tmpdir(), "pgxa-full-"));
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", place], { stdio: "ignore" });
  } catch {
    rmSync(place, { recursive: true });
    return null;
  }
  t.after(() => {
    execFileSync("umount", ["-l", place]);
    rmSync(place, { recursive: true });
  });
  return place;
}

test("on a real one", async (t) => {
  const place = smallDisk(t);
  if (place === null) return t.skip("only root may mount a small file system");
  const filler = join(place, "filler");
  await fillAndFree(
    join(place, "decisions"),
    undefined,
    async () => {
      for (let bytes = 1024 * 1024; bytes >= 4_096; bytes -= 4_096) {
        try {
          await writeFile(filler, Buffer.alloc(bytes));
          return;
        } catch (error) {
          assert.equal((error as NodeJS.ErrnoException).code, "ENOSPC");
        }
      }
    },
    () => unlink(filler),
  );
});

test("a sync that fails ends it, and leaves open only what was to be synced", async () => {
  const disk = new SimulatedDisk(new SeededRandom(3));
  const log = await open("/log", 100, disk.process());
  await commit(log, 1);
  await new Promise((resolve) => setImmediate(resolve));
  disk.faults.syncErrors = 1;
  const failing = commit(log, 2);
  const behind = commit(log, 3); // comes while the disk is busy
  await assert.rejects(failing, { id: "commit.log_failed" });
  await assert.rejects(behind, { id: "commit.log_stopped" });
  disk.faults.syncErrors = 0;
  await log.survey();
  assert.equal(log.isSound, false, "also when the disk works again");
  assert.equal(log.refusal()?.sqlstate, "58030");
  assert.deepEqual(
    [1, 2, 3].map((seq) => log.lookup(nameOf(seq), 100)),
    ["commit", "unknowable", "abort"],
  );
  disk.crash();
  const next = await open("/log", 200, disk.process());
  assert.equal(next.lookup(nameOf(1), 100), "commit");
  assert.equal(next.lookup(nameOf(3), 100), "absent");
});

test("a rotation for which there is no room is put off, and decisions go on", async () => {
  const disk = new SimulatedDisk(new SeededRandom(5));
  const process = disk.process();
  const events: string[] = [];
  const note = (event: string) => void events.push(event);
  const faults = disk.faults;
  const log = await FileLog.open({
    ...{ directory: "/log", wallMs: 100, disk: process, faultPoint() {}, segmentBytesMax: 2_000 },
    log: { ...silentLog, warn: note },
  });
  faults.nameErrors = 1; // no file can be made
  for (let seq = 1; seq <= 100; seq += 1) assert.equal(await commit(log, seq), "commit");
  assert.ok(events.includes("log.rotation_failed"));
  faults.nameErrors = 0;
  for (let seq = 101; seq <= 200; seq += 1) assert.equal(await commit(log, seq), "commit");
  disk.crash();
  const next = await open("/log", 200, disk.process());
  assert.equal(next.unconcluded().length, 200);
});
