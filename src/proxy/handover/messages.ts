// Pure.
/**
 * What two processes of an online restart say to each other, as JSON over the channel between parent and child.
 *
 *     new                         old
 *      | hello ------------------> |
 *      | <------- welcome, handles |   the listening sockets, not listened on yet
 *      | ready ------------------> |   it could serve
 *      | <--------------- takeOver |
 *      | accepting --------------> |   from here on both do; the old one stops
 *      | <------- client, a handle |   for each client at rest
 *      | taken ------------------> |   it is known here, and nothing is read from it yet
 *      | <--------------------- go |   the old one has let go of it
 *
 * A client belongs to the old process up to `go`: whatever goes wrong before, that one reads on as if nothing had been.
 */

import type { ShardChannel } from "../clientChannels.ts";
import type { ParametersState } from "../clientParameters.ts";
import type { Prepare } from "../sqlStatements.ts";

/** A process refuses the clients of one that speaks another version; they stay where they are. */
export const HANDOVER_VERSION = 1;

/** A prepared statement of the protocol. */
export interface StatementState {
  readonly name: string;
  /** The Parse message under that name; base64. */
  readonly parse: string;
  readonly isConfirmed: boolean;
  readonly shape: string | null;
  readonly viewText: string | null;
  /** The names of its parameters' types, if SQL has prepared or executed it in front of several shards. */
  readonly types?: readonly string[];
}

/** What a session carries, in front of one shard and of several. */
export type SessionState =
  | {
      readonly kind: "plain";
      readonly statements: readonly StatementState[];
      readonly prepared: readonly Prepare[];
      readonly channels: readonly ShardChannel[];
    }
  | {
      readonly kind: "sharded";
      readonly statements: readonly StatementState[];
      readonly hints: readonly (readonly [name: string, value: string])[];
      readonly channels: readonly ShardChannel[];
    }
  | {
      readonly kind: "console";
      readonly prepared: readonly (readonly [name: string, text: string])[];
    };

/** `Proof`, in base64 as far as it is bytes. */
export type ProofState =
  | { readonly kind: "none" }
  | { readonly kind: "scram"; readonly clientKey: string; readonly serverKey: string }
  | { readonly kind: "password"; readonly password: string };

export interface ClientState {
  readonly pid: number;
  /** Base64. */
  readonly secret: string;
  /** With what it logs in to the shard where it does that itself. */
  readonly proof: ProofState;
  readonly parameters: ParametersState;
  /** Wall time of the login. */
  readonly connectedAtMs: number;
  readonly session: SessionState;
  /** What was read and not handled; base64. */
  readonly carry: string;
  /** The channel on which the two agree up to where the old process tells the client's notifications. */
  readonly marker: string;
}

export interface CancelMessage {
  readonly kind: "cancel";
  readonly pid: number;
  /** Base64. */
  readonly secret: string;
}

export type ToSuccessor =
  | {
      readonly kind: "welcome";
      readonly version: number;
      /** The latest epoch of the decision log; null with one shard. */
      readonly epoch: number | null;
      readonly logDirectory: string;
      readonly generation: number;
      /** How many handles follow. */
      readonly handles: number;
    }
  /** With a listening socket. */
  | { readonly kind: "handle"; readonly name: string }
  | { readonly kind: "takeOver" }
  /** With the connection. */
  | { readonly kind: "client"; readonly id: number; readonly state: ClientState }
  | { readonly kind: "go"; readonly id: number }
  /** The client stays, or is gone. */
  | { readonly kind: "withdrawn"; readonly id: number }
  | CancelMessage;

export type ToPredecessor =
  | { readonly kind: "hello"; readonly version: number }
  | { readonly kind: "ready" }
  /** On these listening sockets, by name. */
  | { readonly kind: "accepting"; readonly ports: readonly string[] }
  | { readonly kind: "taken"; readonly id: number }
  | { readonly kind: "refused"; readonly id: number; readonly reason: string }
  /** It was told to stop, and the old process is to do so, too; `drains`: when transactions are over. */
  | { readonly kind: "stopping"; readonly drains: boolean }
  | CancelMessage;

/** The other process. Messages arrive in order; after its end they go nowhere. */
export interface Peer<Message> {
  send(message: Message, handle?: object): void;
}
