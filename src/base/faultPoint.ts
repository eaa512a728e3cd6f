/**
 * Named moments of the commit path, told to whoever listens.
 *
 * In production nobody does. The crash tests pass a listener that kills the process there, so that "a crash at
 * any moment" is a list that can be walked. The name says what has happened and what has not.
 */

export const FAULT_POINTS = [
  "prepare.before-send",
  "prepare.after-send",
  "vote.received",
  "votes.all-received",
  "decision.before-write",
  "decision.before-sync",
  "decision.after-sync",
  "anchor.before-send",
  "anchor.after-send",
  "anchor.acknowledged",
  "commit-prepared.before-send",
  "commit-prepared.after-send",
  "commit-prepared.acknowledged",
  "client.before-told",
  "client.after-told",
] as const;

export type FaultPoint = (typeof FAULT_POINTS)[number];

/** `index` counts the participants that passed this point in one transaction, from 0. */
export type FaultPointListener = (point: FaultPoint, index: number) => void;

/** The same for an online restart: moments of the old process and, from `arrival` on, of the new one. */
export const HANDOVER_POINTS = [
  "handover.invited",
  "handover.before-take-over",
  "handover.stopped-accepting",
  "client.before-send",
  "client.after-send",
  "client.before-go",
  "client.after-go",
  "arrival.before-ready",
  "arrival.before-accepting",
  "arrival.accepting",
  "arrival.before-taken",
  "arrival.after-taken",
  "arrival.go",
] as const;

export type HandoverPoint = (typeof HANDOVER_POINTS)[number];

export type HandoverPointListener = (point: HandoverPoint) => void;
