/** What a reload changes, and what it leaves for a restart. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { loadFile, type ReloadedConfig, reloadConfig } from "../../src/config/load.ts";
import { OPTIONS } from "../../src/config/options.ts";

const home = mkdtempSync(join(tmpdir(), "pgxa-reload-"));
after(() => rmSync(home, { recursive: true }));

const file = (options: string): string => {
  const path = join(home, "pgxa.yaml");
  writeFileSync(
    path,
    `database: bank\nshards:\n  - { name: only, host: db, user: pgxa }\nauth: { method: trust }\n${options}`,
  );
  return path;
};

function reloaded(before: string, now: string): ReloadedConfig {
  const running = loadFile(file(before), {}).raw;
  return reloadConfig(file(now), {}, running);
}

describe("a reload", () => {
  it("applies what is live, keeps what is not, and names both", () => {
    const { config, applied, waiting } = reloaded(
      "shutdown: { timeout: 5s }\nlisten: { port: 6000 }\n",
      "shutdown: { timeout: 7s }\nlisten: { port: 7000 }\n",
    );
    assert.equal(config.shutdown.timeoutMs, 7_000);
    assert.equal(config.listen.port, 6_000);
    assert.deepEqual([applied, waiting], [["shutdown.timeout"], ["listen.port"]]);
  });

  it("brings an option that is gone from the file back to its default", () => {
    const { config, applied } = reloaded("shutdown: { timeout: 5s }\n", "");
    assert.equal(config.shutdown.timeoutMs, 25_000);
    assert.deepEqual(applied, ["shutdown.timeout"]);
  });

  it("changes nothing for a file that says the same", () => {
    const { applied, waiting } = reloaded("shutdown: { timeout: 5s }\n", "shutdown: { timeout: 5000ms }\n");
    assert.deepEqual([applied, waiting], [[], []]);
  });

  it("takes nothing from a file that is wrong", () => {
    const running = loadFile(file(""), {}).raw;
    assert.throws(() => reloadConfig(file("shutdown: { timeout: soon }\n"), {}, running), {
      id: "config.invalid",
    });
  });
});

describe("the option table", () => {
  it("has no live option that says where shards, ports and logs are", () => {
    const fixed = ["listen.host", "listen.port", "fleet", "coordinator", "transaction.log_directory"];
    const live = OPTIONS.filter(({ isLive }) => isLive).map(({ path }) => path);
    assert.deepEqual(
      fixed.filter((path) => live.includes(path)),
      [],
    );
  });
});
