/** Unix sockets: clients', shards', whose they are, and who is at the other end. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect, createServer, type Server } from "node:net";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import pg from "pg";
import { type RunningProxy, startProxy } from "../../src/cli/compose.ts";
import type { Config } from "../../src/config/config.ts";
import { silentLog } from "../../src/observe/log.ts";
import { takeHandle } from "../../src/pool/accepting.ts";
import { ByteStream } from "../../src/pool/byteStream.ts";
import { AcceptedLink } from "../../src/proxy/acceptedLink.ts";
import { PeerUsers } from "../../src/proxy/peerUsers.ts";
import { PSQL_MISSING, psql } from "../support/psql.ts";
import { Stage } from "./stage.ts";

const LIMIT = { timeout: 60_000 };
const ON_LINUX = { ...LIMIT, skip: process.platform === "linux" ? false : "Linux only" };
const directory = mkdtempSync(join(tmpdir(), "pgxa-unix-"));

let stage: Stage;
before(async () => {
  stage = await Stage.open({ shards: 1, isOpen: false, settings: { unix_socket_directories: "." } });
}, LIMIT);
after(async () => {
  await stage.stop();
  rmSync(directory, { recursive: true });
});

/** pgxa with a Unix socket, for as long as `work` takes. */
async function withPgxa<T>(work: (port: number) => Promise<T>, more: Partial<Config> = {}): Promise<T> {
  const { config } = stage;
  const listen = { ...config.listen, unixDirectory: directory, unixMode: 0o770, ...more.listen };
  let proxy: RunningProxy | null = null;
  try {
    proxy = await startProxy({ ...config, ...more, listen }, { log: silentLog });
    return await work(proxy.port);
  } finally {
    await proxy?.stop();
  }
}

async function countAt(host: string, port: number): Promise<number> {
  const client = new pg.Client({ host, port, user: "postgres", database: "bank" });
  await client.connect();
  const { rows } = await client.query("SELECT count(*)::int AS n FROM accounts");
  await client.end();
  return rows[0].n;
}

describe("a client", LIMIT, () => {
  test("comes by the Unix socket as well as by the port, and the file goes when pgxa goes", async () => {
    const path = await withPgxa(async (port) => {
      assert.equal(await countAt(directory, port), 100);
      assert.equal(await countAt("127.0.0.1", port), 100);
      const file = join(directory, `.s.PGSQL.${port}`);
      assert.equal(statSync(file).mode & 0o777, 0o770);
      return file;
    });
    assert.equal(existsSync(path), false);
  });

  test("of libpq comes by it, and needs no TLS where others do", { skip: PSQL_MISSING }, async () => {
    await withPgxa(async (port) => {
      const target = { host: directory, port, user: "postgres", dbname: "bank", sslmode: "require" };
      const { out, err } = await psql(target, "SELECT count(*) FROM accounts");
      assert.equal(out, "100", err);
    });
  });
});

describe("the socket's place", LIMIT, () => {
  /** A port that is free, in front of which a file stands. */
  const on = (port: number): Partial<Config> => ({
    listen: { ...stage.config.listen, port, unixDirectory: directory, unixMode: 0o770 },
  });
  const freePort = async (): Promise<number> => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as { port: number };
    await once(server.close(), "close");
    return port;
  };

  test("is taken over from a process that was killed", async () => {
    const port = await freePort();
    const path = join(directory, `.s.PGSQL.${port}`);
    const script = `require("node:net").createServer().listen(${JSON.stringify(path)}, () => console.log("up"))`;
    const killed = spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "inherit"] });
    await once(killed.stdout, "data");
    killed.kill("SIGKILL");
    await once(killed, "exit");
    assert.ok(existsSync(path));
    assert.equal(await withPgxa(() => countAt(directory, port), on(port)), 100);
  });

  test("is left to a process that is alive", async () => {
    const port = await freePort();
    const path = join(directory, `.s.PGSQL.${port}`);
    const server: Server = createServer((socket) => socket.end());
    await once(server.listen(path), "listening");
    await assert.rejects(
      withPgxa(() => Promise.resolve(), on(port)),
      { id: "listen.unix_taken" },
    );
    assert.ok(existsSync(path));
    await once(server.close(), "close");
  });

  test("is left to a file that is no socket", async () => {
    const port = await freePort();
    const path = join(directory, `.s.PGSQL.${port}`);
    writeFileSync(path, "precious");
    await assert.rejects(
      withPgxa(() => Promise.resolve(), on(port)),
      { id: "listen.unix_taken" },
    );
    assert.ok(existsSync(path));
  });
});

describe("a shard", LIMIT, () => {
  test("is reached by its Unix socket, by all of pgxa's own sessions, whatever its TLS mode", async () => {
    const shards = stage.config.shards.map((shard, i) => ({
      ...shard,
      host: stage.shards[i]!.dataDirectory,
      tls: { ...shard.tls!, mode: "require" as const },
    }));
    await withPgxa(
      async (port) => {
        const client = new pg.Client({ host: directory, port, user: "postgres", database: "bank" });
        await client.connect();
        const { rows } = await client.query("SELECT inet_server_addr() AS address");
        assert.equal(rows[0].address, null);
        await client.query("LISTEN news");
        const heard = once(client, "notification");
        await client.query("NOTIFY news, 'by the socket'");
        assert.equal((await heard)[0].payload, "by the socket");
        const sleeping = assert.rejects(client.query("SELECT pg_sleep(30)"), { code: "57014" });
        const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
        const request = Buffer.alloc(16);
        for (const [i, word] of [16, 80877102, processID, secretKey].entries()) {
          request.writeInt32BE(word, 4 * i);
        }
        let isOver = false;
        const over = sleeping.then(() => void (isOver = true));
        while (!isOver) {
          const canceler = connect({ path: join(directory, `.s.PGSQL.${port}`) });
          canceler.write(request);
          await Promise.race([once(canceler.resume(), "close"), over]);
        }
        await client.end();
      },
      { shards },
    );
  });
});

describe("the user at the other end", ON_LINUX, () => {
  const path = join(directory, "peer");
  const links: AcceptedLink[] = [];
  let server: Server;
  let peers: PeerUsers;
  before(async () => {
    server = createServer({ pauseOnConnect: true }, (socket) => {
      const stream = ByteStream.accept(
        takeHandle(socket)!,
        { onChunk() {}, onDrain() {}, onClosed() {} },
        1_024,
      );
      links.push(new AcceptedLink("unix", stream, peers));
    });
    await once(server.listen(path), "listening");
    chmodSync(path, 0o777);
    chmodSync(directory, 0o755);
  });
  after(async () => void (await once(server.close(), "close")));

  /** Connects in this process and asks about itself. */
  async function ask(): Promise<string | null> {
    const socket = connect({ path });
    await once(socket, "connect");
    while (links.length === 0) await new Promise((resolve) => setImmediate(resolve));
    const name = await links.pop()!.peerUser();
    socket.destroy();
    return name;
  }

  test("is who runs the process there", async () => {
    peers = new PeerUsers();
    assert.equal(await ask(), userInfo().username);
  });

  test("is not taken for who runs pgxa", {
    skip: process.getuid?.() === 0 ? false : "needs root",
  }, async () => {
    peers = new PeerUsers();
    const script = `require("node:net").connect(${JSON.stringify(path)})`;
    const other = spawn(process.execPath, ["-e", script], { uid: 1, gid: 1, cwd: "/", stdio: "ignore" });
    other.on("error", () => {});
    while (links.length === 0) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(await links.pop()!.peerUser(), "daemon");
    other.kill();
  });

  test("is asked for in one way after the other, and not known if none works", async () => {
    peers = new PeerUsers([
      { command: "/nonexistent", args: [] },
      { command: "/bin/sh", args: ["-c", "echo nonsense"] },
      { command: "/bin/sh", args: ["-c", `printf ${process.getuid?.()}`] },
    ]);
    assert.equal(await ask(), userInfo().username);
    peers = new PeerUsers([{ command: "/bin/sh", args: ["-c", "exit 1"] }]);
    assert.equal(await ask(), null);
    peers = new PeerUsers([]);
    assert.equal(await ask(), null);
  });

  test("is known to many that ask at once", async () => {
    peers = new PeerUsers();
    const sockets = Array.from({ length: 12 }, () => connect({ path }));
    await Promise.all(sockets.map((socket) => once(socket, "connect")));
    while (links.length < 12) await new Promise((resolve) => setImmediate(resolve));
    const names = await Promise.all(links.splice(0).map((link) => link.peerUser()));
    assert.deepEqual(new Set(names), new Set([userInfo().username]));
    for (const socket of sockets) socket.destroy();
  });

  test("is not known of a connection that is gone", async () => {
    peers = new PeerUsers();
    const link = new AcceptedLink("unix", { descriptor: null } as ByteStream, peers);
    assert.equal(await link.peerUser(), null);
  });
});
