/** How many clients are let in: refused with 53300 once they have proved who they are. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import type pg from "pg";
import { Stage } from "./stage.ts";

const WAIT = { timeout: 60_000 };

type Refusal = Error & { code?: string; hint?: string; detail?: string };

describe("limits on clients", WAIT, () => {
  let stage: Stage;
  before(async () => {
    stage = await Stage.open({
      shards: 1,
      config: {
        users: [
          { name: "one", password: "secret", clients_max: 1 },
          { name: "other", password: "secret" },
          { name: "fresh", password: "secret" },
          { name: "many", password: "secret", clients_max: 0 },
        ],
        databases: [
          { name: "small", database: "bank", clients_max: 1 },
          { name: "large", database: "bank" },
        ],
        auth: { method: "scram-sha-256" },
        limits: { clients_max: 6, user_clients_max: 2, database_clients_max: 4, address_clients_max: 5 },
      },
    });
  });
  after(() => stage?.stop());

  const open: pg.Client[] = [];
  const connect = async (user: string, database = "bank"): Promise<pg.Client> => {
    const client = await stage.connect({ user, database, password: "secret" });
    open.push(client);
    return client;
  };
  /** The same for one that is let in, once those of the last test have gone. */
  const admitted = async (user: string, database = "bank"): Promise<pg.Client> => {
    for (;;) {
      try {
        return await connect(user, database);
      } catch (error) {
        if ((error as Refusal).code !== "53300") throw error;
        await turn();
      }
    }
  };
  const closeAll = async (): Promise<void> => {
    await Promise.all(open.splice(0).map((client) => client.end()));
  };
  const isRefused = (message: string, option: string) => (error: Refusal) => {
    assert.deepEqual([error.code, error.message], ["53300", message]);
    assert.match(error.hint ?? "", new RegExp(option));
    return true;
  };

  it("hold for a user with one of its own, and for all others", async () => {
    await admitted("one");
    await assert.rejects(
      connect("one"),
      isRefused('too many connections for role "one"', "user_clients_max"),
    );
    for (const _ of [1, 2]) await admitted("other");
    await assert.rejects(
      connect("other"),
      isRefused('too many connections for role "other"', "user_clients_max"),
    );
    await closeAll();
    await admitted("one");
    await closeAll();
  });

  it("hold for a database", async () => {
    await admitted("other", "small");
    const refused = isRefused('too many connections for database "small"', "database_clients_max");
    await assert.rejects(connect("many", "small"), refused);
    for (const _ of [1, 2, 3, 4]) await admitted("many", "large");
    await closeAll();
  });

  it("hold for an address, and for all", async () => {
    for (const _ of [1, 2, 3, 4]) await admitted("many", "large");
    await admitted("many");
    await assert.rejects(
      connect("other"),
      isRefused("too many connections from 127.0.0.1", "address_clients_max"),
    );
    await closeAll();
  });

  it("say nothing to who has not proved who it is", async () => {
    await admitted("one");
    await assert.rejects(
      stage.connect({ user: "one", password: "wrong" }),
      (error: Refusal) => error.code === "28P01",
    );
    await closeAll();
  });

  it("hold for those who come at once", async () => {
    const came = await Promise.allSettled(Array.from({ length: 20 }, () => connect("fresh")));
    assert.equal(came.filter(({ status }) => status === "fulfilled").length, 2);
    await closeAll();
  });
});
