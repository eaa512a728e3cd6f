/** A login over a socket with nothing but `src/wire`: what it takes of both sides to understand each other. */
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { TLSSocket } from "node:tls";
import { Fault } from "../../src/base/fault.ts";
import { readAuthentication, readErrorFields } from "../../src/wire/backendReaders.ts";
import * as answer from "../../src/wire/backendWriters.ts";
import { endPointHash } from "../../src/wire/certificateHash.ts";
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

/** What a gatekeeper with TLS shows; `offered`: what it says of SCRAM, if not the truth. */
export interface GatekeeperTls {
  readonly certificate: string;
  readonly key: string;
  readonly offered?: readonly string[];
}

/**
 * A server that asks for SCRAM-SHA-256, lets `user` in, says ReadyForQuery, and answers each query with nothing. With
 * `tls` it insists on that, and offers channel binding.
 */
export async function startGatekeeper(user: ScramUser, tls?: GatekeeperTls): Promise<GatekeeperHandle> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket.on("error", () => {}));
    socket.once("close", () => sockets.delete(socket));
    const kept = tls === undefined ? keepGate(socket, user) : keepGateSecurely(socket, user, tls);
    kept.catch((error: unknown) => socket.destroy(error as Error));
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

async function keepGateSecurely(socket: Socket, user: ScramUser, tls: GatekeeperTls): Promise<void> {
  await once(socket, "data"); // the SSLRequest
  socket.write("S");
  const secure = new TLSSocket(socket, { isServer: true, cert: tls.certificate, key: tls.key });
  secure.on("error", () => {});
  await keepGate(secure, user, endPointHash(new X509Certificate(tls.certificate).raw), tls.offered);
}

async function keepGate(
  socket: Socket,
  user: ScramUser,
  certificateHash: Buffer | null = null,
  offered?: readonly string[],
): Promise<void> {
  const startup = new StartupReader(10_000);
  const feed = new MessageFeed("client", 10_000);
  const random = scriptedRandom("the gatekeeper");
  const scram = new ScramServer(user, Buffer.alloc(32, 3), random, certificateHash);
  let phase: "startup" | "first" | "final" | "in" = "startup";
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    if (phase === "startup") {
      if (startup.push(chunk)?.kind !== "startup") continue;
      phase = "first";
      socket.write(answer.authenticationSasl([...(offered ?? scram.mechanisms)]));
      continue;
    }
    feed.push(chunk);
    while (feed.next()) {
      const { buffer, start, end } = feed;
      if (phase === "first") {
        socket.write(serverFirst(scram, buffer, start, end));
        phase = "final";
      } else if (phase === "final") {
        socket.write(verdict(scram.final(readSaslResponse(buffer, start, end))));
        phase = "in";
      } else if (phase === "in" && feed.type === QUERY) {
        socket.write(Buffer.concat([EMPTY_QUERY, answer.readyForQuery("I")]));
      }
    }
  }
}

/** An error, as pgxa's handshake makes it, where the exchange is broken. */
function serverFirst(scram: ScramServer, buffer: Buffer, start: number, end: number): Buffer {
  const { mechanism, data } = readSaslInitialResponse(buffer, start, end);
  try {
    return answer.authenticationSaslContinue(scram.first(data ?? Buffer.alloc(0), mechanism));
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    return answer.errorResponse({ severity: "FATAL", sqlstate: error.sqlstate, message: error.message });
  }
}

const QUERY = 0x51;
const EMPTY_QUERY = Buffer.from([0x49, 0, 0, 0, 4]);
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
