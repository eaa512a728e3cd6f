/** A login over a socket with nothing but `src/wire`: what it takes of both sides to understand each other. */
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { readAuthentication, readErrorFields } from "../../src/wire/backendReaders.ts";
import * as answer from "../../src/wire/backendWriters.ts";
import { readSaslInitialResponse, readSaslResponse } from "../../src/wire/frontendReaders.ts";
import * as send from "../../src/wire/frontendWriters.ts";
import { md5Password } from "../../src/wire/md5Password.ts";
import { MessageFeed } from "../../src/wire/messageFeed.ts";
import { MESSAGE_BYTES_MAX, SERVER_MESSAGE } from "../../src/wire/messageTypes.ts";
import { ScramClient } from "../../src/wire/scramClient.ts";
import { ScramServer, type ScramUser } from "../../src/wire/scramServer.ts";
import { StartupReader } from "../../src/wire/startup.ts";
import { scriptedRandom } from "./scriptedRandom.ts";

export interface LoginOutcome {
  /** The kinds of Authentication messages that came, and the SQLSTATE if it failed. */
  readonly steps: string[];
  readonly parameterCount: number;
  readonly secretBytes: number;
}

/** Logs in to the Postgres on `port` of 127.0.0.1 and out again. */
export async function logIn(
  port: number,
  user: string,
  password: string,
  minor: number,
): Promise<LoginOutcome> {
  const socket = connect(port, "127.0.0.1");
  const feed = new MessageFeed("server", MESSAGE_BYTES_MAX);
  const scram = new ScramClient(password, scriptedRandom(`${user}'s nonce`));
  const outcome = { steps: [] as string[], parameterCount: 0, secretBytes: 0 };
  socket.write(
    send.startup(
      new Map([
        ["user", user],
        ["database", "postgres"],
      ]),
      minor,
    ),
  );
  try {
    for await (const chunk of socket) {
      feed.push(chunk as Buffer);
      while (feed.next()) if (takeReply(feed, user, password, scram, socket, outcome)) return outcome;
    }
    throw new Error("the server closed the connection without a word");
  } finally {
    socket.destroy();
  }
}

/** True when the login is over. */
function takeReply(
  { type, buffer, start, end }: MessageFeed,
  user: string,
  password: string,
  scram: ScramClient,
  socket: Socket,
  outcome: { steps: string[]; parameterCount: number; secretBytes: number },
): boolean {
  if (type === SERVER_MESSAGE.parameterStatus) outcome.parameterCount += 1;
  if (type === SERVER_MESSAGE.backendKeyData) outcome.secretBytes = end - start - 9;
  if (type === SERVER_MESSAGE.errorResponse) outcome.steps.push(readErrorFields(buffer, start, end).sqlstate);
  if (type === SERVER_MESSAGE.authentication) {
    const request = readAuthentication(buffer, start, end);
    outcome.steps.push(request.kind);
    if (request.kind === "cleartext") socket.write(send.password(password));
    if (request.kind === "md5") socket.write(send.password(md5Password(user, password, request.salt)));
    if (request.kind === "sasl") socket.write(send.saslInitialResponse("SCRAM-SHA-256", scram.first()));
    if (request.kind === "saslContinue") socket.write(send.saslResponse(scram.respond(request.data)));
    if (request.kind === "saslFinal") scram.verify(request.data);
  }
  return type === SERVER_MESSAGE.readyForQuery || type === SERVER_MESSAGE.errorResponse;
}

export interface GatekeeperHandle {
  readonly port: number;
  stop(): Promise<void>;
}

/** A server that asks for SCRAM-SHA-256, lets `user` in, and says ReadyForQuery; nothing else. */
export async function startGatekeeper(user: ScramUser): Promise<GatekeeperHandle> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket.on("error", () => {}));
    socket.once("close", () => sockets.delete(socket));
    keepGate(socket, user).catch((error: unknown) => socket.destroy(error as Error));
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the server listens on a port");
  const stop = async () => {
    const closed = once(server, "close");
    server.close();
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  return { port: address.port, stop };
}

async function keepGate(socket: Socket, user: ScramUser): Promise<void> {
  const startup = new StartupReader(10_000);
  const feed = new MessageFeed("client", 10_000);
  const scram = new ScramServer(user, Buffer.alloc(32, 3), scriptedRandom("the gatekeeper"));
  let phase: "startup" | "first" | "final" | "in" = "startup";
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    if (phase === "startup") {
      if (startup.push(chunk)?.kind !== "startup") continue;
      phase = "first";
      socket.write(answer.authenticationSasl(["SCRAM-SHA-256"]));
      continue;
    }
    feed.push(chunk);
    while (feed.next()) {
      const { buffer, start, end } = feed;
      if (phase === "first") {
        const { data } = readSaslInitialResponse(buffer, start, end);
        socket.write(answer.authenticationSaslContinue(scram.first(data ?? Buffer.alloc(0))));
        phase = "final";
      } else if (phase === "final") {
        socket.write(verdict(scram.final(readSaslResponse(buffer, start, end))));
        phase = "in";
      }
    }
  }
}

const REFUSAL = { severity: "FATAL", sqlstate: "28P01", message: "password authentication failed" };

const verdict = (final: Buffer | null): Buffer =>
  final === null
    ? answer.errorResponse(REFUSAL)
    : Buffer.concat([
        answer.authenticationSaslFinal(final),
        answer.authenticationOk(),
        answer.parameterStatus("server_version", "18.0"),
        answer.backendKeyData(1, Buffer.alloc(4)),
        answer.readyForQuery("I"),
      ]);
