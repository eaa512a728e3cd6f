/** What databases and users have of their own: sizes of pools, timeouts. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type pg from "pg";
import { Stage } from "./stage.ts";

const WAIT = { timeout: 60_000 };

describe("a database or a user with limits of its own", WAIT, () => {
  let stage: Stage;
  before(async () => {
    stage = await Stage.open({
      shards: 1,
      config: {
        users: [
          { name: "postgres" },
          { name: "bounded", pool_max: 1 },
          { name: "spared", statement_timeout: 0 },
        ],
        databases: [{ name: "small", database: "bank", pool_max: 1, statement_timeout: "300ms" }],
        pool: { max: 3, checkout_timeout: "500ms" },
      },
    });
  });
  after(() => stage?.stop());

  const begun = async (user: string, database = "bank"): Promise<pg.Client> => {
    const client = await stage.connect({ user, database });
    await client.query("BEGIN; SELECT 1");
    return client;
  };
  const failsWith = (code: string) => (error: Error & { code?: string }) => error.code === code;

  it("may have a smaller pool", async () => {
    const holder = await begun("postgres", "small");
    await assert.rejects(begun("postgres", "small"), failsWith("53300"));
    const others = [await begun("postgres"), await begun("postgres")];
    for (const client of [holder, ...others]) await client.query("COMMIT");
  });

  it("may be bounded within a pool", async () => {
    const holder = await begun("bounded");
    await assert.rejects(begun("bounded"), failsWith("53300"));
    const others = [await begun("postgres"), await begun("postgres")];
    for (const client of [holder, ...others]) await client.query("COMMIT");
  });

  it("has its own timeout, the user's before the database's", async () => {
    const [limited, spared] = await Promise.all(
      ["postgres", "spared"].map((user) => stage.connect({ user, database: "small" })),
    );
    await assert.rejects(limited!.query("SELECT pg_sleep(30)"), failsWith("57014"));
    await spared!.query("SELECT pg_sleep(1)");
  });
});
