/** `pgxa log` as an operator uses it. */
import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { gidOf, shardId, xidOf } from "../../src/base/brands.ts";
import { readLogOptions } from "../../src/cli/log.ts";
import { silentLog } from "../../src/observe/log.ts";
import { FileLog } from "../../src/txn/fileLog/fileLog.ts";
import { gtrid } from "../../src/txn/gid.ts";
import { run } from "./command.ts";

describe("pgxa log", () => {
  let home: string;
  let directory: string;
  let log: FileLog;

  const nameOf = (epoch: number, seq: number) => gtrid({ fleet: "f", coordinator: "c", epoch, seq });
  const open = (wallMs: number, heirAfter?: number): Promise<FileLog> =>
    FileLog.open({
      ...{ directory, wallMs, log: silentLog, faultPoint() {} },
      ...(heirAfter === undefined ? {} : { heirAfter }),
    });
  const decide = async (one: FileLog, seq: number): Promise<void> => {
    const name = nameOf(one.epoch, seq);
    const participant = { shard: shardId("east"), gid: gidOf(`pgxa:${name}::east`), xid: xidOf("4711") };
    await one.decide(name, "commit", [{ ...participant, server: null }]);
  };
  const pgxa = (...args: readonly string[]) => run(["log", ...args]);

  before(async () => {
    home = await mkdtemp(join(tmpdir(), "pgxa-cli-log-"));
    directory = join(home, "decisions");
    log = await open(100);
    for (const seq of [1, 2, 3]) await decide(log, seq);
    log.conclude(nameOf(100, 1));
    await decide(log, 4);
  });
  after(async () => {
    await rm(home, { recursive: true, force: true });
  });

  it("refuses to compact a log whose process lives, and names that process", async () => {
    const { code, stderr } = await pgxa("compact", directory);
    assert.equal(code, 1);
    assert.ok(stderr.includes(`process ${process.pid} has it`) && stderr.includes(directory), stderr);
  });

  it("dumps a log that is in use, with those of heirs, in plain words and as JSON", async () => {
    const heir = await open(200, log.latestEpoch);
    await decide(heir, 1);
    const { code, stdout } = await pgxa("dump", directory);
    await heir.close();
    assert.equal(code, 0);
    assert.match(stdout, /commit f:c:2s:2 on east \(xid 4711\)/);
    assert.match(stdout, /concluded f:c:2s:1: every shard has applied it/);
    assert.match(stdout, /heir-5k:\n +decisions-0000000001\.log\n +@8 +open: epoch 5k writes/);
    assert.match(stdout, /commit f:c:5k:1/);
    const { logs } = JSON.parse((await pgxa("dump", directory, "--json")).stdout);
    const kinds = logs[0].segments[0].frames.flatMap((frame: { entries: { kind: string }[] }) =>
      frame.entries.map(({ kind }) => kind),
    );
    assert.deepEqual(kinds.filter((kind: string) => kind === "commit").length, 4);
  });

  it("finds the directory by the configuration, and says so where there is none", async () => {
    const file = join(home, "pgxa.yaml");
    const shards = "database: d\nshards: [{ name: a, host: 127.0.0.1, user: u }]\nauth: { method: trust }\n";
    await writeFile(file, `${shards}transaction:\n  log_directory: decisions\n`);
    const { code, stdout, stderr } = await pgxa("verify", "--config", file);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /decisions: 1 segments, \d+ frames, 3 commits not concluded\n +whole/);
    await writeFile(file, shards);
    const none = await pgxa("verify", "--config", file);
    assert.equal(none.code, 2);
    assert.match(
      none.stderr,
      /pgxa\.yaml gives no transaction\.log_directory: its decisions are on the shards/,
    );
  });

  it("compacts a log that nobody has: what is not concluded stays", async () => {
    await log.close();
    const { code, stdout } = await pgxa("compact", directory);
    assert.equal(code, 0);
    assert.match(stdout, /4 commits are not concluded; \d+ bytes before, \d+ now/);
    assert.deepEqual((await readdir(directory)).length, 1, "one segment, no heirs");
    assert.equal((await pgxa("verify", directory)).code, 0);
  });

  it("names damage with its segment, place and meaning, and ends with 1", async () => {
    const next = await open(300);
    await decide(next, 1);
    await decide(next, 2);
    await next.close();
    const [name] = (await readdir(directory)).filter((one) => one.endsWith(".log"));
    const path = join(directory, name!);
    const bytes = await readFile(path);
    bytes[bytes.indexOf(`"${nameOf(next.epoch, 1)}"`)]! ^= 1;
    await writeFile(path, bytes);
    const { code, stdout } = await pgxa("verify", directory);
    assert.equal(code, 1);
    assert.match(
      stdout,
      new RegExp(`${name} at \\d+, \\d+ bytes: damaged: bytes were changed. Lost: commits of epoch`),
    );
    const json = JSON.parse((await pgxa("verify", directory, "--json")).stdout);
    assert.equal(json.ok, false);
    assert.equal(json.logs[0].damage[0].segment, name);
    assert.match((await pgxa("dump", directory)).stdout, /@\d+ +\d+ bytes: DAMAGED/);
  });

  it("says what is wrong with a command line", async () => {
    for (const [args, says] of [
      [[], /say what to do: dump, verify or compact/],
      [["dumb", "d"], /there is no dumb\. Did you mean dump\?/],
      [["dump"], /needs --config FILE or a DIRECTORY/],
      [["dump", "d", "--config", "x"], /not both/],
      [["dump", "d", "more"], /"more" is one word too many/],
      [["dump", "d", "--jsn"], /there is no option --jsn/],
      [["compact", "d", "--json"], /--json is for dump and verify/],
      [["verify", "--config"], /--config needs a file's name/],
    ] as const) {
      assert.match(String(readLogOptions(args)), says);
    }
    assert.equal(readLogOptions(["verify", "--help"]), null);
    const missing = await pgxa("verify", join(home, "none"));
    assert.equal(missing.code, 2);
    assert.match(missing.stderr, /pgxa log verify: .*none: ENOENT/);
  });
});
