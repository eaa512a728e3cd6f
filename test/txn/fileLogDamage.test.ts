/**
 * Damage to a decision log of files, of every kind and everywhere: what was decided is found, or what became of it is
 * unknowable; never is it taken for absent. And what the damage cannot have touched goes on as before.
 */
import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { type Gtrid, gidOf, shardId, xidOf } from "../../src/base/brands.ts";
import { type Log, silentLog } from "../../src/observe/log.ts";
import { FileLog } from "../../src/txn/fileLog/fileLog.ts";
import { gtrid, parseGtrid } from "../../src/txn/gid.ts";
import { SeededRandom } from "../sim/seededRandom.ts";
import { type DiskProcess, SimulatedDisk } from "../world/simulatedDisk.ts";

const DIRECTORY = "/log";
const FIRST = 100;
const SECOND = 200;
const nameOf = (epoch: number, seq: number): Gtrid => gtrid({ fleet: "f", coordinator: "c", epoch, seq });

const open = (disk: DiskProcess, wallMs: number, log: Log = silentLog): Promise<FileLog> =>
  FileLog.open({ directory: DIRECTORY, disk, wallMs, log, faultPoint() {} });

function commit(log: FileLog, seq: number): Promise<unknown> {
  const name = nameOf(log.epoch, seq);
  const participants = ["east", "west"].map((shard) => ({
    shard: shardId(shard),
    gid: gidOf(`pgxa:${name}::${shard}`),
    xid: xidOf("731"),
    server: "7300000000000000000/00000001",
  }));
  return log.decide(name, "commit", participants);
}

/** A log whose first process decided 1 to 3, and the second one 1 to 5; both were killed. */
async function decided(): Promise<{ readonly disk: SimulatedDisk; readonly names: readonly Gtrid[] }> {
  const disk = new SimulatedDisk(new SeededRandom(1));
  const names: Gtrid[] = [];
  for (const [epoch, count] of [
    [FIRST, 3],
    [SECOND, 5],
  ] as const) {
    const process = disk.process();
    const log = await open(process, epoch);
    for (let seq = 1; seq <= count; seq += 1) {
      await commit(log, seq);
      names.push(nameOf(epoch, seq));
    }
    await turn();
    process.kill();
  }
  return { disk, names };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function segmentPath(disk: SimulatedDisk): Promise<string> {
  const names = (await disk.process().list(DIRECTORY)).filter((name) => name.endsWith(".log"));
  assert.equal(names.length, 1);
  return `${DIRECTORY}/${names[0]}`;
}

/** What a start over `disk` finds of `names`; never absent. */
async function neverAbsent(disk: SimulatedDisk, names: readonly Gtrid[], what: string): Promise<FileLog> {
  const log = await open(disk.process(), 300);
  for (const name of names) {
    const found = log.lookup(name, parseGtrid(name)!.epoch);
    assert.ok(found === "commit" || found === "unknowable", `${what}: ${name} is ${found}`);
  }
  assert.equal(log.lookup(nameOf(300, 1), 300), "absent", what);
  assert.equal(await commit(log, 2), "commit", "the rest goes on");
  return log;
}

/** Every start over every damage that `make` gives of the segment's bytes. */
async function eachDamage(make: (bytes: Buffer) => Iterable<readonly [string, Buffer]>): Promise<void> {
  const { disk, names } = await decided();
  const path = await segmentPath(disk);
  const bytes = Buffer.from(disk.find(path).live);
  for (const [what, damaged] of make(bytes)) {
    const fresh = new SimulatedDisk(new SeededRandom(1));
    const process = fresh.process();
    await (await process.own(DIRECTORY)).release();
    const file = await process.create(path);
    if (damaged.length > 0) file.write(damaged);
    await neverAbsent(fresh, names, what);
  }
}

test("no flipped bit makes a decision absent", () =>
  eachDamage(function* (bytes) {
    for (let at = 0; at < bytes.length; at += 1) {
      const copy = Buffer.from(bytes);
      copy[at]! ^= 1 << (at % 8);
      yield [`a bit of byte ${at}`, copy];
    }
  }));

test("no sector of zeros makes a decision absent", () =>
  eachDamage(function* (bytes) {
    for (let at = 0; at + 512 < bytes.length; at += 512) {
      yield [`sector at ${at}`, Buffer.from(bytes).fill(0, at, at + 512)];
    }
  }));

test("no bytes that are taken out make a decision absent", () =>
  eachDamage(function* (bytes) {
    for (let at = 0; at + 100 < bytes.length; at += 13) {
      for (const length of [1, 60, 250]) {
        const rest = bytes.subarray(Math.min(at + length, bytes.length - 40));
        yield [`${length} bytes at ${at}`, Buffer.concat([bytes.subarray(0, at), rest])];
      }
    }
  }));

test("a segment that is deleted, or was another's, makes nothing absent that was before", async () => {
  const { disk, names } = await decided();
  const path = await segmentPath(disk);
  await disk.process().remove(path);
  await neverAbsent(disk, names, "deleted");

  const [here, there] = [await decided(), await decided()];
  const old = Buffer.from(there.disk.find(await segmentPath(there.disk)).live);
  const process = here.disk.process();
  const log = await open(process, 250);
  for (let seq = 1; seq <= 3; seq += 1) await commit(log, seq);
  await turn();
  process.kill();
  here.disk.damage(await segmentPath(here.disk), () => old);
  const later = [1, 2, 3].map((seq) => nameOf(250, seq));
  await neverAbsent(here.disk, [...here.names, ...later], "an older one in its place");
});

test("two segments whose names were exchanged are read in the order in which they were written", async () => {
  const directory = await mkdtemp(join(tmpdir(), "pgxa-damage-"));
  after(() => rm(directory, { recursive: true, force: true }));
  const openReal = (wallMs: number) => FileLog.open({ directory, wallMs, log: silentLog, faultPoint() {} });
  const first = await openReal(FIRST);
  await commit(first, 1);
  await first.close();
  const [name] = (await readdir(directory)).filter((one) => one.endsWith(".log"));
  const old = await readFile(join(directory, name!));
  const second = await openReal(SECOND);
  await commit(second, 1);
  await second.close();
  const next = (await readdir(directory)).find((one) => one.endsWith(".log"))!;
  await rename(join(directory, next), join(directory, name!));
  await writeFile(join(directory, next), old);
  const third = await openReal(300);
  assert.equal(third.lookup(nameOf(FIRST, 1), FIRST), "commit");
  assert.equal(third.lookup(nameOf(SECOND, 1), SECOND), "commit");
  assert.equal(third.lookup(nameOf(SECOND, 2), SECOND), "unknowable");
  await third.close();
});

test("a gap costs only what it may hold: its epoch, up to the number reached behind it; it is named", async () => {
  const { disk } = await decided();
  const path = await segmentPath(disk);
  let offset = 0;
  disk.damage(path, (bytes) => {
    offset = bytes.indexOf(`"${nameOf(SECOND, 2)}"`);
    bytes[offset]! ^= 1;
    return bytes;
  });
  const fields: Record<string, unknown>[] = [];
  const error = (event: string, more: object = {}): void => {
    if (event === "log.damaged") fields.push({ ...more });
  };
  const log = await open(disk.process(), 300, { ...silentLog, error });
  const found = (epoch: number, seq: number) => log.lookup(nameOf(epoch, seq), epoch);
  assert.deepEqual(
    [1, 2, 3, 4, 5].map((seq) => found(SECOND, seq)),
    [...["commit", "unknowable", "commit", "commit", "commit"]],
  );
  assert.equal(found(SECOND, 6), "absent", "nobody had thought of it when the gap was written");
  assert.equal(found(FIRST, 9), "absent");
  assert.equal(fields.length, 1);
  const { segment, bytes, lost } = fields[0]!;
  assert.equal(`${DIRECTORY}/${segment}`, path);
  assert.ok(Number(fields[0]!.offset) < offset && Number(fields[0]!.offset) + Number(bytes) > offset);
  assert.match(String(lost), /commits of epoch 5k with numbers up to 3 may be lost/);
});
