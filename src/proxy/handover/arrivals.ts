/**
 * The new process's part in an online restart: it takes clients over.
 *
 * A client that arrives gets a session with all it had. Nothing is read from it before the old process has let go of it;
 * until then its connection is only a second name for what the old one has, and closing it says nothing to the client.
 */
import { detach } from "../../base/detach.ts";
import type { Environment } from "../../base/environment.ts";
import { Fault } from "../../base/fault.ts";
import type { HandoverPointListener } from "../../base/faultPoint.ts";
import type { Log } from "../../observe/log.ts";
import { ByteStream, type StreamHandle } from "../../pool/byteStream.ts";
import { Credentials } from "../auth/credentials.ts";
import type { ClientIdentity } from "../clientLimits.ts";
import { ClientParameters } from "../clientParameters.ts";
import type { ClientRegistry } from "../clientRegistry.ts";
import type { Gate, Place } from "../gate.ts";
import type { NewClient } from "../handshake.ts";
import { CLIENT_READ_BYTES } from "../listener.ts";
import type { Rest } from "../rest.ts";
import type { Session } from "../session.ts";
import { channelsOf, restoreSession } from "./belongings.ts";
import { Marker, shardsOf } from "./marker.ts";
import type { ClientState, Peer, ToPredecessor } from "./messages.ts";
import { proofOf } from "./proofState.ts";

export interface ArrivalsOptions {
  readonly peer: Peer<ToPredecessor>;
  readonly registry: ClientRegistry;
  readonly rest: Rest;
  readonly gate: Gate;
  createSession(client: NewClient): Session;
  readonly environment: Environment;
  readonly log: Log;
  readonly faultPoint: HandoverPointListener;
}

interface Arrived {
  readonly session: Session;
  readonly carry: Buffer;
}

export class Arrivals {
  readonly #options: ArrivalsOptions;
  /** Those that wait for the old process to let go. */
  readonly #waiting = new Map<number, Arrived>();
  #isAlone = false;

  constructor(options: ArrivalsOptions) {
    this.#options = options;
  }

  /** A client with its connection. */
  onClient(id: number, state: ClientState, handle: StreamHandle): void {
    detach(this.#take(id, state, handle), "the old process is told");
  }

  /** The client is this process's. */
  onGo(id: number): void {
    const arrived = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (arrived === undefined) return;
    const { session, carry } = arrived;
    const { faultPoint, rest } = this.#options;
    faultPoint("arrival.go");
    session.client.arrive();
    channelsOf(session)?.resume();
    rest.note(session); // who drains ends it
    if (carry.length > 0) session.client.onChunk(carry, carry.length);
    session.client.stream.resume();
  }

  onWithdrawn(id: number): void {
    const arrived = this.#waiting.get(id);
    this.#waiting.delete(id);
    arrived?.session.client.stream.destroy();
  }

  /** The old process is gone without a word: with it those it had not let go of. */
  close(): void {
    this.#isAlone = true;
    for (const id of [...this.#waiting.keys()]) this.onGo(id);
  }

  /** This process ends without a word: those whom the old one has not let go of stay there. */
  disown(): void {
    for (const id of [...this.#waiting.keys()]) this.onWithdrawn(id);
  }

  async #take(id: number, state: ClientState, handle: StreamHandle): Promise<void> {
    const { peer, faultPoint, log } = this.#options;
    const stream = ByteStream.adopt(handle, NOBODY_YET, CLIENT_READ_BYTES);
    faultPoint("arrival.before-taken");
    try {
      const session = await this.#restore(state, stream);
      this.#waiting.set(id, { session, carry: Buffer.from(state.carry, "base64") });
      log.debug("client.connected", { pid: state.pid });
      if (this.#isAlone) return this.onGo(id);
      peer.send({ kind: "taken", id });
      faultPoint("arrival.after-taken");
    } catch (error) {
      stream.destroy();
      peer.send({ kind: "refused", id, reason: error instanceof Error ? error.message : String(error) });
    }
  }

  async #restore(state: ClientState, stream: ByteStream): Promise<Session> {
    const { registry, createSession, environment } = this.#options;
    const key = { pid: state.pid, secret: Buffer.from(state.secret, "base64") };
    if (registry.has(key.pid)) throw new Error("another client has that process id");
    const parameters = ClientParameters.restore(state.parameters);
    const client = this.#clientOf(state, { stream, key, parameters });
    const session = createSession(client);
    session.client.expect();
    session.client.meter.connectedAtMs = state.connectedAtMs;
    registry.add(client, session);
    const channels = channelsOf(session);
    const marker = new Marker(state.marker, channels?.hubs ?? [], environment.clock);
    try {
      await restoreSession(session, state.session);
      const listening = state.session.kind === "console" ? [] : state.session.channels;
      await marker.listen(shardsOf(listening), (shard) => channels?.forgetWaiting(shard));
      await marker.send();
      await marker.passed();
      return session;
    } finally {
      marker.close();
    }
  }

  /** Who it is was proved to the old process. */
  #clientOf(state: ClientState, own: Pick<NewClient, "stream" | "key" | "parameters">): NewClient {
    const packet = new Map(state.parameters.packet);
    const user = packet.get("user") ?? "";
    const place = this.#placeOf(state, packet);
    const database = place.kind === "console" ? null : place.name;
    const identity: ClientIdentity = { user, database, address: own.stream.remoteAddress };
    return { ...own, user, credentials: new Credentials(user, proofOf(state.proof)), place, identity };
  }

  #placeOf({ session }: ClientState, packet: ReadonlyMap<string, string>): Place {
    const place = this.#options.gate.admit(packet);
    const isConsole = place.kind === "console";
    if (isConsole === (session.kind === "console")) return place;
    throw new Fault("login.no_database");
  }
}

const NOBODY_YET = { onChunk() {}, onDrain() {}, onClosed() {} };
