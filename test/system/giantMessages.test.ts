/**
 * Messages that are too long to be held, in front of one shard: they pass in pieces, and what stands before and behind
 * them is as it would be with short ones.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import {
  backendOf,
  bounded,
  find,
  type Giant,
  giantBind,
  giantParse,
  giantQuery,
  LENGTH_MAX,
  openRig,
  rowText,
  sendGiant,
  sqlstate,
  WAIT,
  withClient,
} from "./giantStage.ts";
import {
  bind,
  describeStatement,
  errorField,
  execute,
  int16,
  int32,
  parse,
  query,
  sync,
  text,
  typesOf,
} from "./rawClient.ts";
import { MB, type Rig } from "./tortureRig.ts";

let rig: Rig;
before(async () => {
  rig = await openRig();
});
after(() => rig?.stop());

describe("a simple query with a literal of 200 MB", () => {
  const BYTES = 200 * MB;

  test("is answered, with what stands behind it, and costs little memory", WAIT, () =>
    withClient(rig, (client) =>
      bounded(rig, async () => {
        client.send(query("SELECT 'before'"));
        await sendGiant(client, giantQuery("SELECT length('", BYTES, "')"));
        client.send(query("SELECT 'behind'"), parse("", "SELECT 'batch'"), bind(""), execute(), sync());
        assert.equal(rowText(await client.until("Z")), "before");
        assert.equal(rowText(await client.until("Z")), String(BYTES));
        assert.equal(rowText(await client.until("Z")), "behind");
        assert.equal(rowText(await client.until("Z")), "batch");
      }),
    ),
  );

  test("fails as the shard says, and the session goes on", WAIT, () =>
    withClient(rig, async (client) => {
      await sendGiant(client, giantQuery("SELECT no_such('", 20 * MB, "')"));
      client.send(query("SELECT 'behind'"));
      assert.equal(sqlstate(await client.until("Z")), "42883");
      assert.equal(rowText(await client.until("Z")), "behind");
    }),
  );

  test("fails the transaction it is in", WAIT, () =>
    withClient(rig, async (client) => {
      client.send(query("BEGIN"));
      await client.until("Z");
      await sendGiant(client, giantQuery("SELECT no_such('", 20 * MB, "')"));
      const answer = await client.until("Z");
      assert.equal(find(answer, "Z").body.toString(), "E");
      client.send(query("ROLLBACK"));
      await client.until("Z");
    }),
  );
});

describe("a parameter of 200 MB", () => {
  const BYTES = 200 * MB;
  const STATEMENTS = {
    unnamed: "",
    named: "a_name_that_is_longer_than_the_one_it_gets_on_the_connection_or_is_it",
  };
  for (const [kind, name] of Object.entries(STATEMENTS)) {
    for (const [format, type] of [
      ["text", "text"],
      ["binary", "bytea"],
    ] as const) {
      test(`of an ${kind} statement in ${format} format is bound`, WAIT, () =>
        withClient(rig, (client) =>
          bounded(rig, async () => {
            client.send(parse(name, `SELECT length($1::${type})`));
            await sendGiant(client, giantBind(name, BYTES, format === "binary" ? 1 : 0));
            client.send(execute(), sync(), query("SELECT 'behind'"));
            const answer = await client.until("Z");
            assert.equal(typesOf(answer), "12DCZ");
            assert.equal(rowText(answer), String(BYTES));
            assert.equal(rowText(await client.until("Z")), "behind");
          }),
        ),
      );
    }
  }

  test("of a statement prepared on another connection brings the statement with it", WAIT, () =>
    withClient(rig, async (client) => {
      client.send(parse("carried", "SELECT length($1::text)"), sync());
      await client.until("Z");
      const other = await rig.login();
      const pid = await backendOf(client);
      other.send(query("BEGIN"));
      await other.until("Z");
      if ((await backendOf(other)) !== pid) {
        other.close();
        return;
      }
      await sendGiant(client, giantBind("carried", 20 * MB));
      client.send(execute(), sync());
      assert.equal(rowText(await client.until("Z")), String(20 * MB));
      other.close();
    }),
  );

  test("of a statement that does not exist is refused, and what follows is answered", WAIT, () =>
    withClient(rig, async (client) => {
      for (const name of ["nobody", ""]) {
        await sendGiant(client, giantBind(name, 20 * MB));
        client.send(execute(), sync(), query("SELECT 'behind'"));
        const answer = await client.until("Z");
        assert.equal(typesOf(answer), "EZ");
        assert.equal(sqlstate(answer), "26000");
        assert.equal(rowText(await client.until("Z")), "behind");
      }
    }),
  );

  test("in a batch that has failed is passed over", WAIT, () =>
    withClient(rig, async (client) => {
      client.send(parse("", "SELEC"));
      await sendGiant(client, giantBind("", 20 * MB));
      client.send(execute(), sync(), query("SELECT 'behind'"));
      const answer = await client.until("Z");
      assert.equal(typesOf(answer), "EZ");
      assert.equal(sqlstate(answer), "42601");
      assert.equal(rowText(await client.until("Z")), "behind");
    }),
  );
});

describe("a Parse of 100 MB", () => {
  const BYTES = 100 * MB;
  const padded = (name: string, sql = "SELECT 1", bytes = BYTES): Giant =>
    giantParse(name, `${sql} /* `, bytes, "*/");

  test("without a name is parsed, described, bound", WAIT, () =>
    withClient(rig, (client) =>
      bounded(rig, async () => {
        await sendGiant(client, padded(""));
        client.send(describeStatement(""), bind(""), execute(), sync(), query("SELECT 'behind'"));
        const answer = await client.until("Z");
        assert.equal(typesOf(answer), "1tT2DCZ");
        assert.equal(rowText(answer), "1");
        assert.equal(rowText(await client.until("Z")), "behind");
      }),
    ),
  );

  test("is bound later on the same connection, and elsewhere does not exist", WAIT, () =>
    withClient(rig, async (client) => {
      client.send(query("BEGIN"));
      await client.until("Z");
      await sendGiant(client, padded("", "SELECT 'later'", 20 * MB));
      client.send(sync());
      await client.until("Z");
      client.send(bind(""), execute(), sync());
      assert.equal(rowText(await client.until("Z")), "later");
      client.send(query("COMMIT"));
      await client.until("Z");

      await sendGiant(client, padded("", "SELECT 'later'", 20 * MB));
      client.send(sync());
      await client.until("Z");
      const other = await rig.login();
      other.send(parse("", "SELECT 'another'"), sync());
      await other.until("Z");
      other.send(query("BEGIN"), parse("", "SELECT 'another'"), sync());
      await other.until("Z");
      await other.until("Z");
      client.send(bind(""), execute(), sync(), query("SELECT 'behind'"));
      const answer = await client.until("Z");
      assert.equal(sqlstate(answer), "26000");
      assert.equal(errorField(find(answer, "E"), "M"), "unnamed prepared statement does not exist");
      assert.equal(rowText(await client.until("Z")), "behind");
      other.close();
    }),
  );

  test("with a name is refused with what to do, and its batch is passed over", WAIT, () =>
    withClient(rig, async (client) => {
      await sendGiant(client, padded("named", "SELECT 1", 20 * MB));
      client.send(bind("named"), execute(), sync(), query("SELECT 'behind'"));
      const answer = await client.until("Z");
      assert.equal(typesOf(answer), "EZ");
      assert.equal(sqlstate(answer), "54000");
      assert.match(errorField(find(answer, "E"), "H") ?? "", /unnamed.*limits\.message_held_max/);
      assert.equal(rowText(await client.until("Z")), "behind");
    }),
  );

  test("with a syntax error is refused by the shard", WAIT, () =>
    withClient(rig, async (client) => {
      await sendGiant(client, padded("", "SELEC", 20 * MB));
      client.send(bind(""), execute(), sync(), query("SELECT 'behind'"));
      assert.equal(sqlstate(await client.until("Z")), "42601");
      assert.equal(rowText(await client.until("Z")), "behind");
    }),
  );
});

test("a function call with an argument of 20 MB is answered", WAIT, () =>
  withClient(rig, async (client) => {
    client.send(query("SELECT 'length(text)'::regprocedure::oid"));
    const length = Number(rowText(await client.until("Z")));
    const fillBytes = 20 * MB;
    const head = Buffer.concat([int32(length), int16(1), int16(0), int16(1), int32(fillBytes)]);
    await sendGiant(client, { type: "F", head, fillBytes, tail: int16(0) });
    client.send(query("SELECT 'behind'"));
    const answer = await client.until("Z");
    assert.equal(typesOf(answer), "VZ");
    assert.equal(find(answer, "V").body.subarray(4).toString(), String(fillBytes));
    assert.equal(rowText(await client.until("Z")), "behind");
  }),
);

test("a row of 300 MB passes in pieces", WAIT, () =>
  withClient(rig, (client) =>
    bounded(rig, async () => {
      // Taken off the socket as it comes: neither side keeps it.
      client.socket.removeAllListeners("data");
      let bytes = 0;
      const isDone = new Promise<void>((resolve) => {
        client.socket.on("data", (chunk: Buffer) => {
          bytes += chunk.length;
          if (chunk.subarray(-6).equals(Buffer.from([0x5a, 0, 0, 0, 5, 0x49]))) resolve();
        });
      });
      client.send(query(`SELECT repeat('w', ${300 * MB})`));
      await isDone;
      assert.ok(bytes > 300 * MB);
    }),
  ),
);

test("a query of the longest length there is passes", WAIT, () =>
  withClient(rig, (client) =>
    bounded(rig, async () => {
      // All comment, for a literal could not be as long.
      const head = Buffer.from("SELECT 'end' /*");
      const tail = text("*/");
      await sendGiant(client, {
        type: "Q",
        head,
        fillBytes: LENGTH_MAX - 4 - head.length - tail.length,
        tail,
      });
      const answer = await client.until("Z");
      assert.match(typesOf(answer), /^(TDC|E)Z$/);
      client.send(query("SELECT 'behind'"));
      assert.equal(rowText(await client.until("Z")), "behind");
    }),
  ),
);

test("after all of it the memory is as it was", WAIT, async (t) => {
  t.diagnostic(await rig.assertMemoryIsBack());
});
