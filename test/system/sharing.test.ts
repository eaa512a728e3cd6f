/**
 * Unnamed statements that stay prepared on server connections: clients notice nothing but the speed.
 *
 * The pool has one connection to each shard, so that all clients of a test meet on it. Tables that the configuration
 * does not know are on the first shard by hint. test/system/sharingProtocol.test.ts has what no driver would say.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type pg from "pg";
import { Stage } from "./stage.ts";

const WAIT = { timeout: 30_000 };
/** After so many executions a statement is prepared for good, and more. */
const OFTEN = 10;
const RELATION_CHANGED = "0A000";

const here = (sql: string): string => `${sql} /* pgxa: shard=east */`;

interface Prepared {
  readonly name: string;
  readonly uses: number;
}

/** What stands prepared, of all statements that have `part` in their text, on the one connection there is. */
async function prepared(client: pg.Client, part: string): Promise<Prepared[]> {
  const { rows } = await client.query<Prepared>(
    here(`SELECT name, (generic_plans + custom_plans)::int AS uses FROM pg_prepared_statement()
          WHERE position('${part}' IN statement) > 0`),
  );
  return rows;
}

async function often<Result>(work: (round: number) => Promise<Result>, times = OFTEN): Promise<Result[]> {
  const results: Result[] = [];
  for (let round = 0; round < times; round += 1) results.push(await work(round));
  return results;
}

const code = (query: Promise<unknown>): Promise<string | undefined> =>
  query.then(
    () => undefined,
    (error: pg.DatabaseError) => error.code,
  );

for (const shards of [1, 2]) {
  describe(`over ${shards === 1 ? "one shard" : `${shards} shards`}`, () => {
    let stage: Stage;
    let client: pg.Client;
    let other: pg.Client;
    /** Accounts on the first shard. */
    let accounts: readonly number[];

    before(async () => {
      stage = await Stage.open({ shards, config: { pool: { max: 1 } } });
      accounts = stage.accounts[0]!;
      client = await stage.connect();
      other = await stage.connect();
    });
    after(() => stage?.stop());

    /** Runs statements on the first shard, past pgxa. */
    const directly = async (...texts: string[]) => {
      const control = await stage.shards[0]!.connect();
      for (const text of texts) await control.query(text);
      await control.end();
    };

    test("a statement that comes often is prepared once, and used by all clients", WAIT, async () => {
      const find = (by: pg.Client) =>
        by.query("SELECT id AS often FROM accounts WHERE id = $1", [accounts[0]]);
      await often(() => find(client), 5);
      assert.deepEqual(await prepared(client, "AS often FROM"), []);
      await often(() => find(client), 3);
      await often(() => find(other), 4);
      const [statement, ...more] = await prepared(client, "AS often FROM");
      assert.match(statement!.name, /^pgxa_\d+$/);
      assert.equal(statement!.uses, 7);
      assert.deepEqual(more, []);
    });

    test("what is not ordinary is not kept", WAIT, async () => {
      await often(() =>
        client.query("SELECT id, 'rarely' AS what FROM accounts WHERE id = $1", [accounts[0]]),
      );
      await often(() => client.query("SELECT id AS rarelyé FROM accounts WHERE id = $1", [accounts[0]]));
      assert.deepEqual(await prepared(client, "rarely"), []);
    });

    test("each client has the answers to its own parameters", WAIT, async () => {
      const clients = await Promise.all(Array.from({ length: 8 }, () => stage.connect()));
      await Promise.all(
        clients.map(async (one, i) => {
          for (let round = 0; round < 30; round += 1) {
            const id = accounts[(i + round) % accounts.length]!;
            const { rows } = await one.query(
              "SELECT id, owner, $2::text AS who FROM accounts WHERE id = $1",
              [id, `${i}:${round}`],
            );
            assert.deepEqual(rows, [{ id: String(id), owner: `owner ${id}`, who: `${i}:${round}` }]);
          }
        }),
      );
      await Promise.all(clients.map((one) => one.end()));
    });

    test("dates and times are read and written as each client has set", WAIT, async () => {
      const [german, american] = await Promise.all([
        stage.connect({ options: "-c DateStyle=German,DMY -c TimeZone=Europe/Berlin" }),
        stage.connect({ options: "-c DateStyle=SQL,MDY -c TimeZone=America/New_York" }),
      ]);
      const literal = here("SELECT extract(month FROM DATE '02/03/2020') + $1::int AS month");
      const typed = here("SELECT $1::date::text AS day, $2::timestamptz::text AS at");
      const values = ["02/03/2020", "2020-07-01 12:00+00"];
      const month = async (one: pg.Client) => Number((await one.query(literal, [0])).rows[0].month);
      const both = async (one: pg.Client) => Object.values((await one.query(typed, values)).rows[0]);
      await often(async () => {
        assert.deepEqual([await month(german), await month(american)], [3, 2]);
        assert.deepEqual(await both(german), ["02.03.2020", "01.07.2020 14:00:00 CEST"]);
        assert.deepEqual(await both(american), ["02/03/2020", "07/01/2020 08:00:00 EDT"]);
      });
      assert.equal((await prepared(client, "$2::timestamptz::text AS at")).length, 1);
    });

    test("the time goes on", WAIT, async () => {
      const literal = here("SELECT extract(epoch FROM 'now'::timestamptz) + $1::int AS at");
      const called = here("SELECT extract(epoch FROM now()) + $1::int AS at");
      for (const text of [literal, called]) {
        const times = await often(async () => Number((await client.query(text, [0])).rows[0].at));
        assert.equal(new Set(times).size, times.length, text);
        assert.deepEqual(
          times,
          times.toSorted((a, b) => a - b),
          text,
        );
      }
    });

    test("a text means the tables of each client's search_path", WAIT, async () => {
      await directly(
        "CREATE SCHEMA one CREATE TABLE own (day date, one int)",
        "CREATE SCHEMA two CREATE TABLE own (day timestamp, two text, more int)",
      );
      const [one, two] = await Promise.all([
        stage.connect({ options: "-c search_path=one" }),
        stage.connect(),
      ]);
      await two.query("SET search_path = two");
      const insert = (by: pg.Client) =>
        by.query(here("INSERT INTO own (day) VALUES ($1) RETURNING *, day::text"), ["2020-01-02 03:04:05"]);
      await often(async () => {
        assert.deepEqual((await insert(one)).rows, [{ day: "2020-01-02", one: null }]);
        assert.deepEqual((await insert(two)).rows, [{ day: "2020-01-02 03:04:05", two: null, more: null }]);
      });
      assert.equal((await prepared(client, "INSERT INTO own")).length, 2);
    });

    test("a table altered through pgxa is so at once for all clients", WAIT, async () => {
      await client.query(here("CREATE TABLE changing (id int PRIMARY KEY, n int)"));
      await client.query(here("INSERT INTO changing VALUES (1, 1)"));
      const both = [client, other];
      const insert = (by: pg.Client, id: number, n: string) =>
        by.query(here("INSERT INTO changing (id, n) VALUES ($1, $2)"), [id, n]);
      const find = async (by: pg.Client) =>
        (await by.query(here("SELECT * FROM changing WHERE id = $1"), [1])).rows[0];
      await often(async (i) => {
        for (const [j, by] of both.entries()) {
          await insert(by, 100 * j + 10 + i, "1");
          assert.deepEqual(await find(by), { id: 1, n: 1 });
        }
      });
      await client.query(here("ALTER TABLE changing ALTER COLUMN n TYPE bigint"));
      await often(async (i) => {
        for (const [j, by] of both.entries()) {
          await insert(by, 1000 + 100 * j + i, "5000000000");
          assert.deepEqual(await find(by), { id: 1, n: "1" });
        }
      });
      await other.query(here("ALTER TABLE changing ADD COLUMN more text DEFAULT 'x'"));
      await often(async () => {
        for (const by of both) assert.deepEqual(await find(by), { id: 1, n: "1", more: "x" });
      });
      await client.query(here("DROP TABLE changing"));
      await other.query(here("CREATE TABLE changing (id text)"));
      for (const by of both) assert.equal(await find(by), undefined);
    });

    test("a table altered past pgxa costs an error at the most, and never a wrong answer", WAIT, async () => {
      await directly("CREATE TABLE altered (id int PRIMARY KEY, n int)", "INSERT INTO altered VALUES (1, 1)");
      const select = here("SELECT * FROM altered WHERE id = $1");
      const update = here("UPDATE altered SET n = $1 WHERE id = 1 RETURNING id");
      await often(async () => {
        await client.query(select, [1]);
        await client.query(update, [1]);
      });
      await directly("ALTER TABLE altered ALTER COLUMN n TYPE bigint");
      const selected = await often(() => code(client.query(select, [1])));
      assert.deepEqual(
        selected.filter((error) => error !== undefined),
        [RELATION_CHANGED],
      );
      const updated = await often(() => code(client.query(update, ["5000000000"])));
      assert.ok(updated.filter((error) => error !== undefined).length <= 1, updated.join());
      assert.deepEqual((await client.query(select, [1])).rows, [{ id: 1, n: "5000000000" }]);
      await directly("ALTER TABLE altered ADD COLUMN more int DEFAULT 7");
      const answers = await often(async () =>
        client.query(select, [1]).then(
          ({ rows }) => rows[0],
          (error: pg.DatabaseError) => error.code,
        ),
      );
      assert.ok(answers.filter((answer) => answer === RELATION_CHANGED).length <= 1);
      const row = { id: 1, n: "5000000000", more: 7 };
      for (const answer of answers) if (answer !== RELATION_CHANGED) assert.deepEqual(answer, row);
    });

    test("a temporary table stands before a permanent one for its client alone", WAIT, async () => {
      const owner = await stage.connect();
      await client.query(here("CREATE TABLE shadowed (what text)"));
      await client.query(here("INSERT INTO shadowed VALUES ('permanent')"));
      const find = async (by: pg.Client) =>
        (await by.query(here("SELECT what FROM shadowed LIMIT $1"), [1])).rows[0].what;
      await often(async () => assert.equal(await find(owner), "permanent"));
      await owner.query(here("CREATE TEMP TABLE shadowed AS SELECT text 'temporary' AS what"));
      await often(async () => assert.equal(await find(owner), "temporary"));
      await owner.end();
      await often(async () => assert.equal(await find(client), "permanent"));
    });

    test("a unique violation is that execution's alone", WAIT, async () => {
      await client.query(here("CREATE TABLE single (id int PRIMARY KEY)"));
      const insert = (id: number) => client.query(here("INSERT INTO single VALUES ($1)"), [id]);
      await often(insert);
      for (let round = 0; round < 3; round += 1) {
        assert.equal(await code(insert(1)), "23505");
        await often((i) => insert(100 * (round + 1) + i));
      }
      await client.query("BEGIN");
      await insert(900);
      assert.equal(await code(insert(1)), "23505");
      assert.equal(await code(insert(901)), "25P02", "the transaction has failed");
      await client.query("ROLLBACK");
      await insert(900);
      const { rows } = await client.query(here("SELECT count(*)::int AS n FROM single"));
      assert.equal(rows[0].n, 4 * OFTEN + 1);
    });

    test("a lost server connection takes its statements with it", WAIT, async () => {
      const find = () => client.query("SELECT id AS lost FROM accounts WHERE id = $1", [accounts[0]]);
      for (let round = 0; round < 3; round += 1) {
        await often(find);
        assert.equal((await prepared(client, "AS lost FROM")).length, 1);
        await directly(
          `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
           WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()`,
        );
        assert.equal((await find()).rowCount, 1);
      }
    });

    test("DISCARD ALL takes all statements, and those that come then are prepared again", WAIT, async () => {
      const find = (by: pg.Client) => by.query(here("SELECT id AS discarded FROM events LIMIT $1"), [1]);
      await often(() => find(client));
      await client.query("DISCARD ALL");
      await often(() => find(other));
      await client.query("BEGIN");
      await code(client.query("DISCARD ALL"));
      await client.query("ROLLBACK");
      await often(() => find(other));
    });

    test("more statements than a connection keeps prepared go on working", { timeout: 120_000 }, async () => {
      const find = async (i: number) => {
        const { rows } = await client.query(here(`SELECT ${i} AS number, $1::int AS many`), [i]);
        assert.deepEqual(rows, [{ number: i, many: i }]);
      };
      for (let i = 0; i < 520; i += 1) await often(() => find(i), 6);
      for (let i = 0; i < 520; i += 1) await find(i);
      const { rows } = await client.query(here("SELECT count(*)::int AS n FROM pg_prepared_statement()"));
      assert.equal(rows[0].n, 500);
    });
  });
}

describe("prepare_unnamed: false", () => {
  let stage: Stage;
  before(async () => {
    stage = await Stage.open({ shards: 1, config: { pool: { max: 1, prepare_unnamed: false } } });
  });
  after(() => stage?.stop());

  test("keeps nothing prepared but what clients prepare", WAIT, async () => {
    const client = await stage.connect();
    const text = "SELECT id AS kept FROM accounts WHERE id = $1";
    await often(() => client.query(text, [1]), 3 * OFTEN);
    assert.deepEqual(await prepared(client, "AS kept FROM"), []);
    await client.query({ name: "find", text, values: [1] });
    assert.equal((await prepared(client, "AS kept FROM")).length, 1);
  });
});
