/** Logins that mean harm: connections that stay silent, passwords tried by the dozen, names that are none; and secrets. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { type AuthProxy, ask, openAuth } from "./authStage.ts";
import { errorField, int32, RawClient } from "./rawClient.ts";
import { askedForSasl, lastOf } from "./rawScram.ts";
import { Stage } from "./stage.ts";

const WAIT = { timeout: 60_000 };
const ANN = { user: "ann", password: "hunter2" };

let stage: Stage;
before(async () => {
  stage = await Stage.open({ shards: 1, isOpen: false });
});
after(() => stage?.stop());

/** Runs `use` with a pgxa of these sections. */
async function withProxy(sections: object, use: (proxy: AuthProxy) => Promise<void>): Promise<void> {
  const auth = { method: "scram-sha-256" };
  const users = [{ name: "ann", password: "hunter2" }];
  const proxy = await openAuth(stage, { auth, users, ...sections });
  try {
    await use(proxy);
  } finally {
    await proxy.stop();
  }
}

/** A connection from one of this machine's addresses that says nothing. */
async function silent(port: number, localAddress: string): Promise<Socket> {
  const socket = connect({ host: "127.0.0.1", port, localAddress });
  socket.on("error", () => {});
  socket.resume();
  await once(socket, "connect");
  return socket;
}

describe("connections that stay silent", () => {
  test("keep nobody out, and lose their own places, the oldest first", WAIT, async () => {
    await withProxy({ limits: { handshakes_max: 50, handshakes_per_address_max: 40 } }, async ({ port }) => {
      const sockets: Socket[] = [];
      for (let i = 0; i < 120; i += 1) sockets.push(await silent(port, `127.0.0.${2 + (i % 3)}`));
      for (let i = 0; i < 10; i += 1) assert.equal(await ask(port, ANN), "in");
      const first = sockets[0]!;
      if (!first.closed) await once(first, "close");
      for (const socket of sockets) socket.destroy();
    });
  });

  test("are told why, and so is one in the middle of a login", WAIT, async () => {
    await withProxy({ limits: { handshakes_per_address_max: 1 } }, async ({ port }) => {
      const begun = await askedForSasl(port, "ann");
      const next = new RawClient(port);
      assert.equal(errorField(await lastOf(begun), "C"), "53300");
      next.close();
    });
  });

  test("do not touch who is logged in", WAIT, async () => {
    await withProxy({ limits: { handshakes_max: 2 } }, async ({ port }) => {
      const answer = ask(port, ANN, "SELECT pg_sleep(0.3)::text");
      for (let i = 0; i < 3; i += 1) assert.equal(await ask(port, ANN), "in");
      const sockets = await Promise.all(["2", "3", "4", "5"].map((n) => silent(port, `127.0.0.${n}`)));
      assert.equal(await answer, "");
      for (const socket of sockets) socket.destroy();
    });
  });
});

describe("passwords tried by the dozen", () => {
  test("are not heard any more, not even a right one", WAIT, async () => {
    const auth = { method: "scram-sha-256", failures_max: 5 };
    await withProxy({ auth }, async ({ port, logged }) => {
      const wrong = { user: "ann", password: "wrong" };
      const tries = await Promise.allSettled(Array.from({ length: 12 }, () => ask(port, wrong)));
      const codes = tries.map((one) => (one as PromiseRejectedResult).reason.code as string);
      assert.equal(codes.filter((code) => code === "28P01").length, 5);
      assert.equal(codes.filter((code) => code === "28000").length, 7);
      await assert.rejects(ask(port, ANN), { code: "28000", message: /too many failed logins/ });
      assert.equal(logged().match(/"auth\.failed"/g)?.length, 5);
    });
  });

  test("by a pool of many connections with the right one are all heard", WAIT, async () => {
    await withProxy({ auth: { method: "scram-sha-256", failures_max: 1 } }, async ({ port }) => {
      const all = await Promise.all(Array.from({ length: 30 }, () => ask(port, ANN)));
      assert.deepEqual([...new Set(all)], ["in"]);
    });
  });
});

describe("a name", () => {
  const raw = (pairs: readonly Buffer[]): Buffer => {
    const body = Buffer.concat([int32(3 << 16), ...pairs, Buffer.from([0])]);
    return Buffer.concat([int32(body.length + 4), body]);
  };
  const pair = (name: string, value: Buffer | string): Buffer =>
    Buffer.concat([Buffer.from(`${name}\0`), Buffer.from(value as Buffer), Buffer.from([0])]);

  for (const [what, packet, code] of [
    [
      "that is not UTF-8",
      raw([pair("user", Buffer.from([0x61, 0xff, 0xfe])), pair("database", "bank")]),
      "22021",
    ],
    [
      "of a database that is not UTF-8",
      raw([pair("user", "ann"), pair("database", Buffer.from([0xc3]))]),
      "22021",
    ],
    ["that is empty", raw([pair("user", "")]), "28000"],
    ["with a NUL, which ends it", raw([pair("user", "ann\0\0")]), "08P01"],
  ] as const) {
    test(`${what} is refused`, WAIT, async () => {
      await withProxy({}, async ({ port }) => {
        const client = new RawClient(port);
        client.send(packet);
        assert.equal(errorField(await lastOf(client), "C"), code);
        assert.equal(await ask(port, ANN), "in");
      });
    });
  }

  test("of any kind is asked for a password like others, and refused", WAIT, async () => {
    await withProxy({}, async ({ port }) => {
      for (const user of [
        "x".repeat(5_000),
        'a"b',
        "a'b;--",
        "\u202e\u0007",
        "../..",
        "%s%n",
        "__proto__",
        "*",
      ])
        await assert.rejects(ask(port, { user, password: "x" }), { code: "28P01" });
    });
  });

  test("of a database that does not exist is told to nobody who has not logged in", WAIT, async () => {
    await withProxy({}, async ({ port }) => {
      for (const database of ["nowhere", "pgxa", "x".repeat(5_000)]) {
        await assert.rejects(ask(port, { ...ANN, password: "no", database }), { code: "28P01" });
      }
      await assert.rejects(ask(port, { ...ANN, database: "nowhere" }), { code: "3D000" });
      await assert.rejects(ask(port, { ...ANN, database: "pgxa" }), { code: "28000" });
    });
  });
});

describe("a users file", () => {
  test("is read again when it changes, and what is wrong with it changes nothing", WAIT, async () => {
    const home = mkdtempSync(join(tmpdir(), "pgxa-users-"));
    const file = join(home, "users.txt");
    const write = (text: string): void => {
      writeFileSync(`${file}.new`, text);
      renameSync(`${file}.new`, file);
    };
    /** Tries until the file has been looked at again. */
    const becomes = async (isIn: boolean, user: string, password: string): Promise<void> => {
      for (;;) {
        const found = await ask(port, { user, password }).then(
          () => true,
          () => false,
        );
        if (found === isIn) return;
      }
    };
    let port = 0;
    write('"carol" "first"');
    try {
      const auth = { method: "scram-sha-256", users_file: file, failures_max: 0 };
      await withProxy({ auth, users: [] }, async (proxy) => {
        port = proxy.port;
        assert.equal(await ask(port, { user: "carol", password: "first" }), "in");
        write('"carol" "second"\n"dave" "dave\'s"');
        await becomes(true, "carol", "second");
        assert.equal(await ask(port, { user: "dave", password: "dave's" }), "in");
        await assert.rejects(ask(port, { user: "carol", password: "first" }), { code: "28P01" });
        write('"carol" "third"\n"dave hunter2');
        while (!proxy.logged().includes("auth.users_file_failed"))
          assert.equal(await ask(port, { user: "carol", password: "second" }), "in");
        write('"carol" "third"');
        await becomes(false, "dave", "dave's");
        assert.doesNotMatch(proxy.logged(), /hunter2|"second"|"third"|dave's/);
      });
    } finally {
      rmSync(home, { recursive: true });
    }
  });
});

test("no secret is logged, or told to a client", WAIT, async () => {
  for (const method of ["scram-sha-256", "md5", "password"]) {
    await withProxy({ auth: { method }, log: { level: "debug" } }, async ({ port, logged }) => {
      assert.equal(await ask(port, ANN), "in");
      const error = await ask(port, { user: "ann", password: "guess5" }).catch((reason: Error) => reason);
      assert.ok(error instanceof Error);
      assert.doesNotMatch(
        `${logged()} ${JSON.stringify(error)} ${error.message}`,
        /hunter2|guess5|md5[0-9a-f]{32}|SCRAM-SHA-256\$/,
      );
      assert.match(logged(), /"event":"auth.failed"/);
    });
  }
});
