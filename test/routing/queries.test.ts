/** Queries: which tables they touch, where their keys come from, and what is refused. */
import { before, describe, it } from "node:test";
import { loadParser } from "../../src/routing/parse.ts";
import { assertPlans, type Cases, KEY, newRouter, OTHER, ownerOf, SAME } from "./routingStage.ts";

const router = newRouter();
const home = ownerOf(KEY);

before(loadParser);

const check = (cases: Cases): void => assertPlans(router, cases);

describe("a key in the WHERE clause", () => {
  it("sends the statement to its shard", () => {
    check([
      [`SELECT * FROM accounts WHERE id = ${KEY}`, `read ${home}`],
      [`SELECT * FROM accounts WHERE ${KEY} = id`, `read ${home}`],
      [`SELECT * FROM public.accounts WHERE public.accounts.id = ${KEY}`, `read ${home}`],
      [`SELECT * FROM Accounts AS a WHERE a.ID = ${KEY} AND a.balance > 3`, `read ${home}`],
      [`SELECT * FROM accounts WHERE balance > 1 AND (owner = 'x' AND id = ${KEY})`, `read ${home}`],
      [`SELECT * FROM accounts WHERE id = '${KEY}'`, `read ${home}`],
      [`SELECT * FROM accounts WHERE id = '${KEY}'::int8`, `read ${home}`],
      [`SELECT * FROM accounts WHERE id = CAST(${KEY} AS bigint)`, `read ${home}`],
      [`SELECT * FROM accounts WHERE id IN (${KEY})`, `read ${home}`],
      ["SELECT * FROM accounts WHERE id = -5", `read ${ownerOf("-5")}`],
      ["SELECT * FROM accounts WHERE id = 9223372036854775807", `read ${ownerOf("9223372036854775807")}`],
      ["SELECT * FROM accounts WHERE id = $1", "read $1:int8"],
      ["SELECT * FROM accounts WHERE $2::bigint = id AND balance > $1", "read $2:int8"],
      ["SELECT * FROM owners WHERE name = 'Zoë'", `read ${ownerOf("Zoë", "text")}`],
      ["SELECT * FROM owners WHERE name = E'a\\'b'", `read ${ownerOf("a'b", "text")}`],
      ["SELECT * FROM rates WHERE amount = 1.50", `read ${ownerOf("1.5", "numeric")}`],
      ["SELECT * FROM rates WHERE amount = 7", `read ${ownerOf("7", "numeric")}`],
      ["SELECT * FROM days WHERE day = DATE '2024-02-29'", `read ${ownerOf("2024-02-29", "date")}`],
      [`UPDATE accounts SET balance = balance - 1 WHERE id = ${KEY}`, `write ${home}`],
      [`UPDATE accounts a SET balance = 0 WHERE a.id = $3 RETURNING *`, "write $3:int8"],
      [`DELETE FROM accounts WHERE id = ${KEY}`, `write ${home}`],
      [`SELECT * FROM accounts WHERE id = ${KEY} FOR UPDATE`, `write ${home}`],
      [`SELECT count(*), sum(balance) FROM accounts WHERE id = ${KEY}`, `read ${home}`],
      [`SELECT my_function(id) FROM accounts WHERE id = ${KEY}`, `write ${home}`],
      [`TABLE currencies`, "read any"],
      [`EXPLAIN SELECT * FROM accounts WHERE id = ${KEY}`, `write ${home}`],
      [`EXPLAIN ANALYZE DELETE FROM accounts WHERE id = ${KEY}`, `write ${home}`],
      [`DECLARE c CURSOR FOR SELECT * FROM accounts WHERE id = ${KEY}`, `read ${home}`],
      [
        `DECLARE c CURSOR WITH HOLD FOR SELECT * FROM accounts WHERE id = $1`,
        "read $1:int8 [pin hold cursor]",
      ],
    ]);
  });

  it("counts for nothing unless every row must have it", () => {
    check([
      ["SELECT * FROM accounts", "refused route.no_key"],
      ["UPDATE accounts SET balance = 0", "refused route.no_key"],
      ["DELETE FROM accounts WHERE owner = 'x'", "refused route.no_key"],
      [`SELECT * FROM accounts WHERE id = ${KEY} OR id = ${KEY}`, "refused route.no_key"],
      [`SELECT * FROM accounts WHERE NOT (id = ${KEY})`, "refused route.no_key"],
      [`SELECT * FROM accounts WHERE id <> ${KEY}`, "refused route.no_key"],
      [`SELECT * FROM accounts WHERE id >= ${KEY}`, "refused route.no_key"],
      [`SELECT * FROM accounts WHERE id IN (${KEY}, ${OTHER})`, "refused route.no_key"],
      [`SELECT * FROM accounts WHERE id NOT IN (${KEY})`, "refused route.no_key"],
      ["SELECT * FROM accounts WHERE id = ANY ($1)", "refused route.no_key"],
      ["SELECT * FROM accounts WHERE id = ANY (ARRAY[1])", "refused route.no_key"],
      ["SELECT * FROM accounts WHERE id IS NOT DISTINCT FROM 1", "refused route.no_key"],
      ["SELECT * FROM accounts WHERE id BETWEEN 1 AND 1", "refused route.no_key"],
      [`SELECT * FROM accounts WHERE id = ${KEY} + 0`, "refused route.no_key"],
      ["SELECT * FROM accounts WHERE id = balance", "refused route.no_key"],
      ["SELECT * FROM accounts WHERE id = NULL", "refused route.no_key"],
      ["SELECT * FROM accounts WHERE id = abs(5)", "refused route.no_key"],
      [`SELECT * FROM accounts WHERE (id = ${KEY}) IS NOT FALSE`, "refused route.no_key"],
      [`SELECT * FROM accounts a WHERE b.id = ${KEY}`, "refused route.no_key"],
      [`SELECT * FROM accounts a WHERE public.accounts.id = ${KEY}`, "refused route.no_key"],
      ["DELETE FROM accounts WHERE CURRENT OF c", "refused route.no_key"],
      ["SELECT id FROM accounts GROUP BY id HAVING id = 1", "refused route.no_key"],
      ["SELECT * FROM owners WHERE name = 'a' COLLATE \"de-x-icu\"", "refused route.no_key"],
      ["SELECT * FROM owners WHERE name = 5", "refused route.no_key"],
    ]);
  });

  it("must be a value of the key's own type", () => {
    check([
      ["SELECT * FROM accounts WHERE id = 1.5", "refused route.no_key"],
      ["SELECT * FROM accounts WHERE id = 'abc'", "refused route.bad_key"],
      ["SELECT * FROM accounts WHERE id = '0x10'", "refused route.bad_key"],
      ["SELECT * FROM accounts WHERE id = 9223372036854775808", "refused route.bad_key"],
      ["SELECT * FROM cards WHERE id = 2147483648", "refused route.bad_key"],
      ["SELECT * FROM accounts WHERE id = $1::text::int8", "refused route.no_key"],
      ["SELECT * FROM accounts WHERE id = $1::numeric", "refused route.no_key"],
      ["SELECT * FROM rates WHERE amount = $1::bigint", "refused route.no_key"],
      ["SELECT * FROM rates WHERE amount = $1::numeric(10, 1)", "refused route.no_key"],
      ["SELECT * FROM owners WHERE name = 'abcdef'::varchar(3)", "refused route.no_key"],
      ["SELECT * FROM owners WHERE name = 'a'::char(5)", "refused route.no_key"],
      ["SELECT * FROM days WHERE day = 'yesterday'", "refused route.bad_key"],
      ["SELECT * FROM days WHERE day = '01/02/2024'", "refused route.bad_key"],
      ["SELECT * FROM days WHERE day = '2024-02-03 10:00+00'::timestamptz", "refused route.no_key"],
      ["SELECT * FROM events WHERE at = '2024-02-03 10:00'", "refused route.bad_key"],
      ["SELECT * FROM events WHERE at = '2024-02-03 10:00+00'::timestamp", "refused route.no_key"],
      ["SELECT * FROM events WHERE at = now()", "refused route.no_key"],
    ]);
  });

  it("is not believed where columns have names of their own", () => {
    check([
      [`SELECT * FROM accounts AS a (owner, id) WHERE a.id = ${KEY}`, "refused route.no_key"],
      [`SELECT * FROM accounts AS a (owner, id) WHERE id = ${KEY}`, "refused route.no_key"],
      [
        `SELECT * FROM (accounts a JOIN transfers t ON t.account_id = a.id) AS j (x, id) WHERE id = ${KEY}`,
        "refused route.no_key",
      ],
      [
        `SELECT * FROM accounts a (owner, id) JOIN cards b USING (id) WHERE b.id = ${KEY}`,
        "refused route.no_key",
      ],
      [
        `SELECT * FROM (accounts a JOIN cards b USING (id)) AS j (x) JOIN accounts a ON a.id = ${KEY}`,
        "refused route.no_key",
      ],
    ]);
  });
});

describe("several tables", () => {
  it("go to one shard when each has its key there", () => {
    const join = "accounts a JOIN transfers t ON t.account_id = a.id";
    check([
      [`SELECT * FROM ${join} WHERE a.id = ${KEY}`, `read ${home}`],
      [`SELECT * FROM ${join} WHERE t.account_id = $1`, "read $1:int8"],
      [`SELECT * FROM accounts a, transfers t WHERE a.id = t.account_id AND a.id = $1`, "read $1:int8"],
      [
        `SELECT * FROM accounts a, transfers t WHERE a.id = ${KEY} AND t.account_id = ${SAME}`,
        `read ${home}`,
      ],
      ["SELECT * FROM accounts a, transfers t WHERE a.id = $1 AND t.account_id = $2", "read $1:int8+$2:int8"],
      [`SELECT * FROM accounts JOIN cards USING (id) WHERE accounts.id = ${KEY}`, `read ${home}`],
      [`SELECT * FROM accounts LEFT JOIN cards USING (id) WHERE id = ${KEY}`, `read ${home}`],
      [`SELECT * FROM currencies c JOIN accounts a ON a.cur = c.code WHERE id = ${KEY}`, `read ${home}`],
      [`SELECT * FROM accounts, jobs WHERE id = $1`, "read $1:int8+south"],
      [`SELECT * FROM accounts, pg_class WHERE id = ${KEY}`, `read ${home}`],
      [
        `UPDATE accounts SET balance = 0 FROM transfers t WHERE id = $1 AND t.account_id = id`,
        "write $1:int8",
      ],
      [`DELETE FROM accounts USING currencies c WHERE id = ${KEY}`, `write ${home}`],
    ]);
  });

  it("are refused when one has no key, or another's shard", () => {
    const join = "accounts a JOIN transfers t ON t.account_id = a.id";
    check([
      [`SELECT * FROM ${join}`, "refused route.no_key"],
      [`SELECT * FROM accounts a, transfers t WHERE a.id = ${KEY}`, "refused route.no_key"],
      [
        `SELECT * FROM accounts a, transfers t WHERE a.id = ${KEY} AND t.account_id = ${OTHER}`,
        "refused route.many_shards",
      ],
      [
        `SELECT * FROM accounts a JOIN transfers t ON t.id = a.id WHERE a.id = ${KEY}`,
        "refused route.no_key",
      ],
      [`SELECT * FROM accounts NATURAL JOIN cards WHERE id = ${KEY}`, "refused route.no_key"],
      ["SELECT * FROM audit, jobs", "refused route.many_shards"],
      [`DELETE FROM accounts USING transfers t WHERE t.account_id = ${KEY}`, "refused route.no_key"],
    ]);
  });

  it("an outer join's ON restricts only the side that may be missing", () => {
    const on = "ON t.account_id = a.id";
    check([
      [`SELECT * FROM accounts a LEFT JOIN transfers t ${on} WHERE a.id = ${KEY}`, `read ${home}`],
      [`SELECT * FROM accounts a LEFT JOIN transfers t ${on} AND a.id = ${KEY}`, "refused route.no_key"],
      [
        `SELECT * FROM accounts a LEFT JOIN transfers t ${on} WHERE t.account_id = ${KEY}`,
        "refused route.no_key",
      ],
      [`SELECT * FROM transfers t RIGHT JOIN accounts a ${on} WHERE a.id = ${KEY}`, `read ${home}`],
      [
        `SELECT * FROM accounts a RIGHT JOIN transfers t ${on} AND t.account_id = ${KEY}`,
        "refused route.no_key",
      ],
      [`SELECT * FROM accounts a FULL JOIN transfers t ${on} WHERE a.id = ${KEY}`, "refused route.no_key"],
      [`SELECT * FROM currencies c LEFT JOIN accounts a ON a.id = ${KEY}`, `read ${home}`],
      [`SELECT * FROM accounts a LEFT JOIN currencies c ON a.id = ${KEY}`, "refused route.no_key"],
    ]);
  });
});

describe("queries within queries", () => {
  it("give keys at every level that reads a sharded table", () => {
    check([
      [`SELECT * FROM (SELECT * FROM accounts WHERE id = ${KEY}) s`, `read ${home}`],
      [`SELECT * FROM (SELECT * FROM accounts) s WHERE id = ${KEY}`, "refused route.no_key"],
      [`SELECT (SELECT balance FROM accounts WHERE id = $1)`, "read $1:int8"],
      [`SELECT 1 WHERE EXISTS (SELECT FROM accounts)`, "refused route.no_key"],
      [
        `SELECT * FROM accounts a WHERE id = 1 AND EXISTS (SELECT FROM cards WHERE a.id = 1)`,
        "refused route.no_key",
      ],
      [`SELECT * FROM accounts WHERE id = (SELECT 1)`, "refused route.no_key"],
      [`SELECT * FROM accounts ORDER BY (SELECT 1)`, "refused route.no_key"],
      [
        `SELECT * FROM accounts a, LATERAL (SELECT * FROM cards c WHERE c.id = a.id) l WHERE a.id = 1`,
        "refused route.no_key",
      ],
      [
        `INSERT INTO accounts (id, balance) VALUES (${KEY}, (SELECT max(x) FROM transfers))`,
        "refused route.no_key",
      ],
    ]);
  });

  it("each arm of a set operation has its key", () => {
    check([
      [
        `SELECT id FROM accounts WHERE id = ${KEY} UNION SELECT id FROM cards WHERE id = ${SAME}`,
        `read ${home}`,
      ],
      [`SELECT id FROM accounts WHERE id = ${KEY} UNION ALL SELECT id FROM cards`, "refused route.no_key"],
      [`SELECT id FROM accounts WHERE id = ${KEY} EXCEPT SELECT 1 LIMIT 5`, `read ${home}`],
      [
        `SELECT id FROM accounts WHERE id = ${KEY} UNION SELECT id FROM accounts WHERE id = ${OTHER}`,
        "refused route.many_shards",
      ],
    ]);
  });

  it("a WITH query hides a table of its name, and counts as what it does", () => {
    check([
      ["WITH accounts AS (SELECT 1 AS id) SELECT * FROM accounts", "read any"],
      ["WITH x AS (SELECT * FROM accounts) SELECT 1", "refused route.no_key"],
      ["WITH accounts AS (SELECT 1) SELECT * FROM public.accounts", "refused route.no_key"],
      ["WITH a AS (SELECT * FROM b), b AS (SELECT 1) SELECT * FROM a", "refused route.unknown_table"],
      ["WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT * FROM r", "read any"],
      [`WITH d AS (DELETE FROM accounts WHERE id = ${KEY} RETURNING *) SELECT * FROM d`, `write ${home}`],
      ["WITH d AS (UPDATE accounts SET balance = 0) SELECT 1", "refused route.no_key"],
      [
        "WITH m AS (MERGE INTO accounts a USING currencies c ON a.id = 1 WHEN MATCHED THEN DELETE RETURNING 1) SELECT 1",
        "refused route.unsupported",
      ],
    ]);
  });
});

describe("names of tables", () => {
  it("are found in the configuration or refused", () => {
    check([
      ["SELECT * FROM unknown", "refused route.unknown_table"],
      ["SELECT * FROM other.accounts WHERE id = 1", "refused route.unknown_table"],
      ["SELECT * FROM twin WHERE id = 1", "refused route.unknown_table"],
      [`SELECT * FROM "right".twin WHERE id = ${KEY}`, `read ${home}`],
      ['SELECT * FROM "Accounts" WHERE id = 1', "refused route.unknown_table"],
      ["SELECT * FROM pg_temp.accounts WHERE id = 1", "refused route.unknown_table"],
      ["SELECT * FROM audit", "read =east"],
      ["UPDATE jobs SET x = 1", "write =south"],
      ["INSERT INTO audit SELECT * FROM pg_class", "write =east"],
      ["SELECT * FROM pg_class", "read default"],
      ["SELECT * FROM information_schema.tables", "read default"],
      ["DELETE FROM pg_class", "refused route.unsupported"],
    ]);
  });
});
