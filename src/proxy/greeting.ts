// Pure.
/** What clients with the same settings are told at login: one object for all of them, with its messages made once. */
import { parameterStatus } from "../wire/backendWriters.ts";

export class Greeting {
  readonly parameters: ReadonlyMap<string, string>;
  /** A ParameterStatus for each; nobody may write into it. */
  readonly messages: Buffer;
  /** What a connection reported (its `parametersKey`) that was found to be no news after this; null: nothing yet. */
  agreesWith: string | null = null;

  constructor(parameters: ReadonlyMap<string, string>) {
    this.parameters = parameters;
    this.messages = Buffer.concat([...parameters].map(([name, value]) => parameterStatus(name, value)));
  }
}
