/**
 * Questions and answers between two processes of one pgxa: a worker and its parent.
 *
 * What is said is a plain object that the structured clone algorithm takes, on a topic that both know with its types.
 * Messages arrive in the order in which they were sent. When the other process is gone, who still waits for an answer is
 * told so, and nothing is said any more.
 */
import { Fault } from "../base/fault.ts";
import { invariant } from "../base/invariant.ts";

/** What is asked or told, and what is answered. */
export interface Topic<Question, Answer = void> {
  readonly name: string;
  /** Only for the types. */
  readonly of?: (question: Question) => Answer;
}

export const topic = <Question, Answer = void>(name: string): Topic<Question, Answer> => ({ name });

/** A Fault on its way to another process. */
interface FaultState {
  readonly id: Fault["id"];
  readonly message: string;
  readonly detail?: string | undefined;
  readonly hint?: string | undefined;
  readonly position?: number | undefined;
}

export type Envelope =
  | { readonly kind: "told"; readonly topic: string; readonly body: unknown }
  | { readonly kind: "asked"; readonly topic: string; readonly id: number; readonly body: unknown }
  | { readonly kind: "answered"; readonly id: number; readonly body: unknown }
  | { readonly kind: "failed"; readonly id: number; readonly fault: FaultState };

/** Sends to the other process, with a socket perhaps; what cannot be sent is lost. */
export type Send = (envelope: Envelope, handle?: object) => void;

type Server = (body: never, handle: object | undefined) => unknown;

interface Asked {
  resolve(answer: never): void;
  reject(fault: Fault): void;
}

export class Channel {
  readonly #send: Send;
  readonly #servers = new Map<string, Server>();
  readonly #asked = new Map<number, Asked>();
  #nextId = 1;
  #isClosed = false;

  constructor(send: Send) {
    this.#send = send;
  }

  /** Says something that has no answer. */
  tell<Question>({ name }: Topic<Question>, body: Question, handle?: object): void {
    if (!this.#isClosed) this.#send({ kind: "told", topic: name, body }, handle);
  }

  /** Rejects with the Fault that the other process answered with, or with `fleet.gone`. */
  ask<Question, Answer>({ name }: Topic<Question, Answer>, body: Question): Promise<Answer> {
    if (this.#isClosed) return Promise.reject(new Fault("fleet.gone"));
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#asked.set(id, { resolve, reject });
      this.#send({ kind: "asked", topic: name, id, body });
    });
  }

  /** `server` gets what is told and asked on the topic; what it returns, or throws, is the answer. */
  serve<Question, Answer>(
    { name }: Topic<Question, Answer>,
    server: (body: Question, handle: object | undefined) => Answer | Promise<Answer>,
  ): void {
    invariant(!this.#servers.has(name), "a topic has one server");
    this.#servers.set(name, server);
  }

  /** What the other process sent; of one that is known to be gone it counts no more. */
  receive(envelope: Envelope, handle: object | undefined): void {
    if (this.#isClosed) return;
    switch (envelope.kind) {
      case "told":
        return void this.#servers.get(envelope.topic)?.(envelope.body as never, handle);
      case "asked":
        return void this.#answer(envelope.topic, envelope.id, envelope.body);
      case "answered":
        return this.#settle(envelope.id, (asked) => asked.resolve(envelope.body as never));
      case "failed": {
        const { id, ...details } = envelope.fault;
        return this.#settle(envelope.id, (asked) => asked.reject(new Fault(id, present(details))));
      }
    }
  }

  /** The other process is gone. */
  close(): void {
    this.#isClosed = true;
    for (const id of [...this.#asked.keys()])
      this.#settle(id, (asked) => asked.reject(new Fault("fleet.gone")));
  }

  #settle(id: number, how: (asked: Asked) => void): void {
    const asked = this.#asked.get(id);
    this.#asked.delete(id);
    if (asked !== undefined) how(asked);
  }

  async #answer(name: string, id: number, body: unknown): Promise<void> {
    const reply = await this.#replyOf(name, id, body);
    if (!this.#isClosed) this.#send(reply);
  }

  async #replyOf(name: string, id: number, body: unknown): Promise<Envelope> {
    const server = this.#servers.get(name);
    if (server === undefined) {
      return { kind: "failed", id, fault: stateOf(new Fault("fleet.gone")) };
    }
    try {
      return { kind: "answered", id, body: await server(body as never, undefined) };
    } catch (error) {
      if (error instanceof Fault) return { kind: "failed", id, fault: stateOf(error) };
      throw error;
    }
  }
}

const stateOf = ({ id, message, detail, hint, position }: Fault): FaultState => ({
  id,
  message,
  detail,
  hint,
  position,
});

/** Without what is undefined. */
function present(details: Omit<FaultState, "id">) {
  const entries = Object.entries(details).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as {
    message: string;
    detail?: string;
    hint?: string;
    position?: number;
  };
}
