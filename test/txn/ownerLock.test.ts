import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { Fault } from "../../src/base/fault.ts";
import { takeOwnership } from "../../src/txn/fileLog/ownerLock.ts";

async function emptyDirectory(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "pgxa-owner-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

const isOwned = (error: unknown): boolean => error instanceof Fault && error.id === "log.owned";

const SOURCE = new URL("../../src/txn/fileLog/ownerLock.ts", import.meta.url).href;

/** A process that takes the directory, says so, and lives until it is killed. */
async function otherOwner(t: TestContext, directory: string) {
  const code = `import { takeOwnership } from ${JSON.stringify(SOURCE)};
    try { await takeOwnership(${JSON.stringify(directory)}); console.log("has it"); } catch { console.log("refused"); }
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ["--input-type=module-typescript", "-e", code], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.after(() => child.kill("SIGKILL"));
  const [line] = await once(child.stdout, "data");
  return { says: String(line).trim(), child };
}

test("the directory of a living process is refused, and free once it died, however it died", async (t) => {
  const directory = await emptyDirectory(t);
  const { says, child } = await otherOwner(t, directory);
  assert.equal(says, "has it");
  await assert.rejects(takeOwnership(directory), isOwned);
  child.kill("SIGKILL");
  await once(child, "close");
  const lock = await takeOwnership(directory);
  await lock.release();
});

test("of several that find a stale lock at once exactly one gets the directory", async (t) => {
  for (let round = 0; round < 3; round += 1) {
    const directory = await emptyDirectory(t);
    await writeFile(join(directory, "owner"), JSON.stringify({ pid: 1, started: "before the last boot" }));
    const others = await Promise.all(Array.from({ length: 6 }, () => otherOwner(t, directory)));
    assert.deepEqual(others.map(({ says }) => says).sort(), [
      "has it",
      ...Array.from({ length: 5 }, () => "refused"),
    ]);
    for (const { child } of others) child.kill("SIGKILL");
  }
});

const RACERS = 5;
const RACES = 150;

test("of those that try at the same moment again and again one gets the directory each time, and keeps it", async (t) => {
  const code = `import { takeOwnership } from ${JSON.stringify(SOURCE)};
    process.on("message", (directory) => takeOwnership(directory).then(() => process.send(true), () => process.send(false)));
    process.send(true);`;
  const racers = Array.from({ length: RACERS }, () => {
    const args = ["--input-type=module-typescript", "-e", code];
    const racer = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "inherit", "ipc"] });
    t.after(() => racer.kill("SIGKILL"));
    return racer;
  });
  const heard = () => Promise.all(racers.map(async (racer) => (await once(racer, "message"))[0] === true));
  await heard();
  for (let race = 0; race < RACES; race += 1) {
    const directory = await emptyDirectory(t);
    await writeFile(join(directory, "owner"), JSON.stringify({ pid: 1, started: "before the last boot" }));
    const results = heard();
    for (const racer of racers) racer.send(directory);
    const winners = racers.filter(
      (
        (won) => (_, i) =>
          won[i]
      )(await results),
    );
    assert.equal(winners.length, 1, `race ${race}`);
    assert.equal(JSON.parse(await readFile(join(directory, "owner"), "utf8")).pid, winners[0]!.pid);
    assert.deepEqual(await readdir(directory), ["owner"]);
  }
});

/** What a process leaves that dies between its two steps of taking over the lock `dead`. */
const halfTaken = (directory: string, dead: string, by: string): Promise<void> => {
  const key = createHash("sha256").update(dead).digest("hex").slice(0, 24);
  return writeFile(join(directory, `owner.after-${key}`), by);
};

test("a lock whose taker died before it had it is taken over from that one, and left to one that lives", async (t) => {
  const [directory, other] = [await emptyDirectory(t), await emptyDirectory(t)];
  const dead = ["one", "two", "three"].map((started) => JSON.stringify({ pid: 1, started }));
  await writeFile(join(directory, "owner"), dead[0]!);
  await halfTaken(directory, dead[0]!, dead[1]!);
  await halfTaken(directory, dead[1]!, dead[2]!);
  const { child } = await otherOwner(t, other);
  const living = await readFile(join(other, "owner"), "utf8");
  await halfTaken(directory, dead[2]!, living);
  await assert.rejects(takeOwnership(directory), isOwned);
  child.kill("SIGKILL");
  await once(child, "close");
  const lock = await takeOwnership(directory);
  assert.deepEqual(await readdir(directory), ["owner"]);
  await assert.rejects(takeOwnership(directory), isOwned);
  await lock.release();
});

test("a process that has the pid of a dead owner does not pass for it", async (t) => {
  const directory = await emptyDirectory(t);
  await (await takeOwnership(directory)).release();
  for (const text of [JSON.stringify({ pid: process.pid, started: "long ago" }), "", "{", "{}", "null"]) {
    await writeFile(join(directory, "owner"), text);
    const lock = await takeOwnership(directory);
    await assert.rejects(takeOwnership(directory), isOwned);
    await lock.release();
  }
});

test("nothing is left behind but the lock, and not that once it is released", async (t) => {
  const directory = await emptyDirectory(t);
  const lock = await takeOwnership(directory);
  assert.deepEqual(await readdir(directory), ["owner"]);
  assert.equal(JSON.parse(await readFile(join(directory, "owner"), "utf8")).pid, process.pid);
  await assert.rejects(takeOwnership(directory), isOwned);
  assert.deepEqual(await readdir(directory), ["owner"]);
  await lock.release();
  assert.deepEqual(await readdir(directory), []);
});

test("a directory that cannot be made is the system's own error", async (t) => {
  const directory = await emptyDirectory(t);
  await writeFile(join(directory, "file"), "");
  await assert.rejects(takeOwnership(join(directory, "file")), { code: "EEXIST" });
});
