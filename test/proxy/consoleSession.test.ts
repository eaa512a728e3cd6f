/** A session of the console whose command takes its time. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import type { Config } from "../../src/config/config.ts";
import { Traffic } from "../../src/observe/traffic.ts";
import type { ByteStream } from "../../src/pool/byteStream.ts";
import { ConsoleSession } from "../../src/proxy/consoleSession.ts";
import { query } from "../../src/wire/frontendWriters.ts";
import { noOperations, sourcesOf } from "../admin/consoleStage.ts";
import { ManualEnvironment } from "../txn/manualEnvironment.ts";

const LIMITS = { messageBytesMax: 1_000_000, messageHeldMax: 100_000, statementsMax: 10 };

/** A session, what it has written, and how its PAUSE ends. */
async function open() {
  const environment = new ManualEnvironment();
  await environment.pass(1);
  let written = "";
  let done!: () => void;
  const pausing = new Promise<void>((resolve) => {
    done = resolve;
  });
  const stream = {
    setOwner() {},
    write(bytes: Buffer) {
      written += bytes.toString("latin1");
      return true;
    },
    pause() {},
    resume() {},
    end() {},
  };
  const traffic = new Traffic();
  const session = new ConsoleSession(
    stream as unknown as ByteStream,
    { name: "ann", role: "admin" },
    {
      config: { limits: LIMITS } as Config,
      traffic: traffic.of("pgxa", "ann"),
      environment,
      onEnd() {},
    },
    sourcesOf({ ...noOperations([]), pause: () => pausing }),
  );
  const send = async (sql: string): Promise<void> => {
    const bytes = query(sql);
    session.client.onChunk(bytes, bytes.length);
    await turn();
  };
  return { session, send, done, written: () => written, traffic };
}

describe("a session of the console", () => {
  it("answers when the operation has been performed, and not before", async () => {
    const { send, done, written } = await open();
    await send("PAUSE");
    assert.equal(written(), "");
    done();
    await turn();
    assert.match(written(), /^C.{4}PAUSE\0Z.{4}I$/s);
  });

  it("lets its client go on after a cancel, though the operation goes on", async () => {
    const { session, send, done, written, traffic } = await open();
    await send("PAUSE");
    session.cancel();
    await turn();
    assert.match(written(), /C57014\0.*Z.{4}I$/s);
    await send("SHOW VERSION");
    assert.match(written(), /pgxa 1\.2\.3/);
    session.cancel(); // nothing runs
    done();
    await turn();
    assert.match(written(), /SHOW\0Z.{4}I$/s);
    assert.equal([...traffic.databases][0]!.totals.queries, 2);
  });
});
