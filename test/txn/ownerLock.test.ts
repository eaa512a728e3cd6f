import assert from "node:assert/strict";
import { spawn } from "node:child_process";
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
