/** Shards of several servers, as the configuration has them. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseConfig } from "../../src/config/load.ts";

const text = (...shards: string[]): string =>
  `database: bank\nshards: [${shards.join(", ")}]\nauth: { method: trust }\ntransaction: { log_directory: d }\n`;
const parse = (...shards: string[]) => parseConfig(text(...shards), "f.yaml", {}).shards;
const EAST = "{ name: east, user: u, hosts: 'a, b:5433' }";

describe("a shard of several servers", () => {
  it("has all of them, and begins with the first", () => {
    const [east] = parse(EAST);
    assert.deepEqual([east!.host, east!.port], ["a", 5432]);
    assert.deepEqual(east!.hosts, [
      { host: "a", port: 5432 },
      { host: "b", port: 5433 },
    ]);
  });

  it("has the port of those that name none", () => {
    const [east] = parse("{ name: east, user: u, port: 6000, hosts: 'a, b:5433' }");
    assert.deepEqual(
      east!.hosts!.map(({ port }) => port),
      [6000, 5433],
    );
  });

  const wrong: readonly (readonly [string, string[], RegExp])[] = [
    ["both", ["{ name: e, user: u, host: a, hosts: b }"], /shards\[0\]\.host has both host and hosts/],
    ["neither", ["{ name: e, user: u }"], /shards\[0\]\.host has neither host nor hosts/],
    ["no list", ["{ name: e, user: u, hosts: 'a b' }"], /shards\[0\]\.hosts is no list of hosts: "a b"/],
    [
      "a server of another shard",
      [EAST, "{ name: west, user: u, hosts: 'c, b:5433' }"],
      /shards\[1\] is the same database as shards\[0\]: b:5433\/bank/,
    ],
  ];
  for (const [what, shards, problem] of wrong) {
    it(`is refused with ${what}`, () => assert.throws(() => parse(...shards), problem));
  }

  it("may not have longer shortest pauses than longest ones", () => {
    const pauses = "health: { backoff_min: 2s, backoff_max: 1s }\n";
    assert.throws(
      () => parseConfig(text(EAST) + pauses, "f.yaml", {}),
      /health\.backoff_min is 2000 ms, more than/,
    );
  });
});
