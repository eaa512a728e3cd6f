/**
 * BEGIN in front of one shard: answered at once, and sent with the first statement. What a client sees is compared, byte for
 * byte, with what the shard itself says to the same messages.
 */
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import {
  bind,
  cancelRequest,
  describeStatement,
  errorField,
  execute,
  int32,
  type Message,
  message,
  parse,
  query,
  RawClient,
  startup,
  statusOf,
  sync,
  text,
} from "./rawClient.ts";
import { Stage } from "./stage.ts";

const WAIT = { timeout: 60_000 };

/** What is sent at once, up to where the answers to it are awaited. */
type Turn = readonly Buffer[];

/** How many answers end with ReadyForQuery: those to Query, Sync and FunctionCall. */
const endsOf = (turn: Turn): number =>
  turn.filter(({ 0: type }) => "QSF".includes(String.fromCharCode(type!))).length;

const shown = ({ type, body }: Message): string => `${type} ${body.toString("latin1")}`;

async function played(port: number, turns: readonly Turn[]): Promise<string[]> {
  const client = await RawClient.login(port);
  const said: string[] = [];
  for (const turn of turns) {
    client.send(...turn);
    for (let left = endsOf(turn); left > 0; left -= 1) said.push(...(await client.until("Z")).map(shown));
  }
  client.close();
  return said;
}

const SELECT = "SELECT id FROM accounts ORDER BY id LIMIT 1";
const COPY = [query("COPY copied FROM STDIN"), message("d", Buffer.from("1\n2\n")), message("c")];
const ask = (sql: string, values: readonly string[] = []) => [
  parse("", sql),
  bind("", values),
  execute(),
  sync(),
];

const SCRIPTS: Readonly<Record<string, readonly Turn[]>> = {
  "a transaction, message by message": ["BEGIN", SELECT, "COMMIT", SELECT].map((sql) => [query(sql)]),
  "all of it sent ahead": [["BEGIN", SELECT, SELECT, "COMMIT", "BEGIN", SELECT, "END"].map(query)],
  "nothing between BEGIN and its end": [
    ["begin", "commit", "START TRANSACTION", "ROLLBACK", "begin;", "end work;", "begin", "abort"].map(query),
  ],
  "the same with an answer to each": ["begin", "commit", "start transaction", "rollback"].map((sql) => [
    query(sql),
  ]),
  "an end without a beginning": ["COMMIT", "ROLLBACK"].map((sql) => [query(sql)]),
  "BEGIN twice": ["BEGIN", "BEGIN", "COMMIT"].map((sql) => [query(sql)]),
  "its characteristics": [
    "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY DEFERRABLE",
    "SHOW transaction_isolation",
    "SHOW transaction_read_only",
    "SHOW transaction_deferrable",
    "COMMIT",
    "SHOW transaction_isolation",
  ].map((sql) => [query(sql)]),
  "characteristics that are sent at once": [
    "BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE",
    "SHOW transaction_isolation",
    "COMMIT",
  ].map((sql) => [query(sql)]),
  "SET TRANSACTION as the first statement": [
    "BEGIN",
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    "SHOW transaction_isolation",
    "ROLLBACK",
  ].map((sql) => [query(sql)]),
  "a chain": ["BEGIN READ ONLY", "COMMIT AND CHAIN", "SHOW transaction_read_only", "COMMIT"].map((sql) => [
    query(sql),
  ]),
  savepoints: ["BEGIN", "SAVEPOINT a", "SELECT 1/0", "ROLLBACK TO a", SELECT, "COMMIT"].map((sql) => [
    query(sql),
  ]),
  "an error in the first statement": ["BEGIN", "SELECT 1/0", SELECT, "COMMIT", SELECT].map((sql) => [
    query(sql),
  ]),
  "a syntax error, with its position": ["BEGIN", "SELECT 1 +", "ROLLBACK"].map((sql) => [query(sql)]),
  "an error in what was sent ahead": [["BEGIN", "SELECT 1/0", SELECT, "COMMIT", SELECT].map(query)],
  "several statements at once": ["BEGIN; SELECT 1", "SELECT 2; COMMIT", SELECT].map((sql) => [query(sql)]),
  "BEGIN, and several statements behind it": ["BEGIN", "SELECT 1; SELECT 2; COMMIT; SELECT 3"].map((sql) => [
    query(sql),
  ]),
  "a Sync alone": [[query("BEGIN")], [sync()], [sync(), query(SELECT), sync()], [query("COMMIT")], [sync()]],
  "the extended protocol": [
    [query("BEGIN")],
    ask("SELECT id FROM accounts WHERE id = $1", ["7"]),
    ask("SELECT $1::int + 1", ["7"]),
    [query("COMMIT")],
  ],
  "the extended protocol, sent ahead": [
    [
      query("BEGIN"),
      ...ask("SELECT $1::text", ["a"]),
      ...ask("SELECT $1::text", ["b"]),
      query("COMMIT"),
      ...ask("SELECT 1"),
    ],
  ],
  "an error in the extended protocol": [
    [query("BEGIN")],
    ask("SELECT 1/$1::int", ["0"]),
    ask(SELECT),
    [query("ROLLBACK")],
  ],
  "a named statement that was there before": [
    [parse("mine", "SELECT $1::int * 2"), describeStatement("mine"), sync()],
    [query("BEGIN")],
    [bind("mine", ["21"]), execute(), sync()],
    [query("COMMIT")],
  ],
  "the unnamed statement, which BEGIN forgets": [
    [parse("", "SELECT 1"), sync()],
    [query("BEGIN")],
    [bind("", []), execute(), sync()],
    [query("ROLLBACK")],
  ],
  "BEGIN in the extended protocol": [
    ask("BEGIN"),
    ask(SELECT),
    ask("COMMIT"),
    [...ask("BEGIN"), query(SELECT), query("COMMIT")],
  ],
  "COPY as the first statement": [
    [query("BEGIN")],
    COPY,
    [query("SELECT count(*) FROM copied")],
    [query("ROLLBACK")],
  ],
  "a function call as the first statement": [
    [query("BEGIN")],
    [message("F", int32(1344), Buffer.from([0, 0, 0, 1]), int32(1), Buffer.from("4"), Buffer.from([0, 0]))],
    [query("COMMIT")],
  ],
  "an empty statement": ["BEGIN", "", " ", "COMMIT"].map((sql) => [query(sql)]),
  "what is malformed": [[query("BEGIN")], [query("SELECT 1\0SELECT 2")], [query("ROLLBACK")]],
  "settings of the transaction, and of the session": [
    "SET work_mem = '5MB'",
    "BEGIN",
    "SET LOCAL work_mem = '6MB'",
    "SHOW work_mem",
    "COMMIT",
    "SHOW work_mem",
    "BEGIN",
    "SET work_mem = '7MB'",
    "ROLLBACK",
    "SHOW work_mem",
  ].map((sql) => [query(sql)]),
};

describe("BEGIN", () => {
  let stage: Stage;
  before(async () => {
    stage = await Stage.open({ shards: 1, config: { pool: { max: 2 } } });
    const client = await stage.connect();
    await client.query("CREATE TABLE copied (n int)");
  });
  after(() => stage?.stop());

  for (const [name, turns] of Object.entries(SCRIPTS))
    test(`is answered as by the shard: ${name}`, WAIT, async () => {
      const [own, theirs] = await Promise.all(
        [stage.port, stage.shards[0]!.port].map((port) => played(port, turns)),
      );
      assert.deepEqual(own, theirs);
    });

  test("takes no connection from others", WAIT, async () => {
    const clients = await Promise.all(Array.from({ length: 5 }, () => stage.connect()));
    for (const client of clients) await client.query("BEGIN");
    for (const client of clients) {
      await client.query(SELECT);
      await client.query("COMMIT");
    }
  });

  test("and what follows it until COMMIT is one transaction", WAIT, async () => {
    const [client, other] = [await stage.connect(), await stage.connect()];
    const write = () => client.query("UPDATE accounts SET balance = balance + 1 WHERE id = 1");
    const read = async () => (await other.query("SELECT balance FROM accounts WHERE id = 1")).rows[0].balance;
    const before = await read();
    await client.query("BEGIN");
    await write();
    await write();
    assert.equal(await read(), before);
    await client.query("ROLLBACK");
    assert.equal(await read(), before);
  });
});

const codesOf = (messages: readonly Message[]): string[] =>
  messages.filter(({ type }) => type === "E").map((one) => errorField(one, "C")!);

describe("a transaction that has begun on no shard", () => {
  let stage: Stage;
  const clients: RawClient[] = [];
  const login = async (): Promise<RawClient> => {
    const client = await RawClient.login(stage.port);
    clients.push(client);
    return client;
  };
  const said = async (client: RawClient, ...messages: readonly Buffer[]): Promise<Message[]> => {
    client.send(...messages);
    return client.until("Z");
  };

  before(async () => {
    stage = await Stage.open({
      shards: 1,
      config: {
        pool: { max: 1, checkout_timeout: "300ms" },
        timeouts: { idle_in_transaction: "2s" },
        health: { interval: "200ms", backoff_max: "200ms" },
      },
    });
  });
  after(() => stage?.stop());
  afterEach(() => {
    for (const client of clients.splice(0)) client.close();
  });

  test("fails if there is no connection for its first statement", WAIT, async () => {
    const [holder, client] = [await login(), await login()];
    await said(holder, query("BEGIN; SELECT 1"));
    assert.equal(statusOf(await said(client, query("BEGIN"))), "T");
    const refused = await said(client, query("SELECT 1"));
    assert.deepEqual([codesOf(refused), statusOf(refused)], [["53300"], "E"]);
    const failed = await said(client, query("SELECT 1"));
    assert.deepEqual([codesOf(failed), statusOf(failed)], [["25P02"], "E"]);
    const ended = await said(client, query("ROLLBACK"));
    assert.deepEqual([codesOf(ended), statusOf(ended)], [[], "I"]);
    await said(holder, query("COMMIT"));
    assert.deepEqual(codesOf(await said(client, query("SELECT 1"))), []);
  });

  test("the same in the extended protocol, up to Sync", WAIT, async () => {
    const [holder, client] = [await login(), await login()];
    await said(holder, query("BEGIN; SELECT 1"));
    await said(client, query("BEGIN"));
    const refused = await said(client, ...ask("SELECT 1"));
    assert.deepEqual([codesOf(refused), statusOf(refused)], [["53300"], "E"]);
    await said(holder, query("COMMIT"));
    assert.deepEqual(codesOf(await said(client, ...ask("SELECT 1"))), ["25P02"]);
    assert.equal(statusOf(await said(client, ...ask("ROLLBACK"))), "I");
  });

  test("fails with a statement that is canceled while it waits", WAIT, async () => {
    const holder = await login();
    await said(holder, query("BEGIN; SELECT 1"));
    const client = new RawClient(stage.port);
    clients.push(client);
    client.send(startup({ user: "postgres", database: "bank" }));
    const key = (await client.until("Z")).find(({ type }) => type === "K")!.body;
    client.send(query("BEGIN"), query("SELECT 1"));
    assert.equal(statusOf(await client.until("Z")), "T");
    const canceller = new RawClient(stage.port);
    canceller.send(cancelRequest(key.readInt32BE(0), key.subarray(4)));
    await canceller.untilClosed();
    const canceled = await client.until("Z");
    assert.deepEqual([codesOf(canceled), statusOf(canceled)], [["57014"], "E"]);
    await said(holder, query("COMMIT"));
    assert.deepEqual(codesOf(await said(client, query("SELECT 1"))), ["25P02"]);
    assert.equal(statusOf(await said(client, query("COMMIT"))), "I");
  });

  test("ends with its client's idleness", WAIT, async () => {
    const client = await login();
    await said(client, query("BEGIN"));
    assert.deepEqual(codesOf(await client.untilClosed()), ["25P03"]);
  });

  test("goes on when the shard was restarted meanwhile", WAIT, async () => {
    const client = await login();
    await said(client, query("SELECT 1"));
    await said(client, query("BEGIN"));
    await stage.shards[0]!.restart();
    for (;;) {
      const answer = await said(client, query("SELECT 1"));
      if (statusOf(answer) === "T") break;
      await said(client, query("ROLLBACK"));
      await said(client, query("BEGIN"));
    }
    assert.equal(statusOf(await said(client, query("COMMIT"))), "I");
  });

  test("has no first statement too long for it", WAIT, async () => {
    const client = await login();
    await said(client, query("BEGIN"));
    const answer = await said(client, query(`SELECT length('${"x".repeat(6_000_000)}')`));
    assert.deepEqual([answer.map(({ type }) => type).join(""), statusOf(answer)], ["TDCZ", "T"]);
    assert.ok(answer[1]!.body.includes(text("6000000").subarray(0, 7)));
    assert.equal(statusOf(await said(client, query("COMMIT"))), "I");
  });
});
