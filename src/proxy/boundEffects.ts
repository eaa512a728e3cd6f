// Pure.
/** The effects of a statement whose Bind is there: what a parameter names is known then. */
import type { SessionEffect } from "../routing/plan.ts";
import type { BindReader } from "../wire/bindReader.ts";

type Setting = Extract<SessionEffect, { kind: "set" }>;

const isNamedByParameter = (effect: SessionEffect): effect is Setting & { readonly parameter: number } =>
  effect.kind === "set" && effect.parameter !== undefined;

/** `effects` with the names of settings that are parameters of the Bind in `buffer[start, end)`, read by `bind`. */
export function withParameters(
  effects: readonly SessionEffect[],
  bind: BindReader,
  buffer: Buffer,
  start: number,
  end: number,
): readonly SessionEffect[] {
  if (!effects.some(isNamedByParameter) || !bind.reset(buffer, start, end)) return effects;
  return effects.map((effect) => {
    if (!isNamedByParameter(effect) || effect.parameter >= bind.parameterCount) return effect;
    return { ...effect, name: bind.parameter(effect.parameter).toString() }; // the bytes of a text in either format
  });
}
