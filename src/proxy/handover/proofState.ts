// Pure.
/** What a client has proved itself with, on its way from one process of pgxa to the next; no log sees it. */
import type { Proof } from "../auth/credentials.ts";
import type { ProofState } from "./messages.ts";

export function proofState(proof: Proof): ProofState {
  if (proof.kind !== "scram") return proof;
  const { clientKey, serverKey } = proof.keys;
  return { kind: "scram", clientKey: text(clientKey), serverKey: text(serverKey) };
}

export function proofOf(state: ProofState): Proof {
  if (state.kind !== "scram") return state;
  return { kind: "scram", keys: { clientKey: bytes(state.clientKey), serverKey: bytes(state.serverKey) } };
}

const text = (key: Uint8Array): string => Buffer.from(key).toString("base64");
const bytes = (key: string): Uint8Array => Buffer.from(key, "base64");
