/** Prepared statements: a client's name becomes pgxa's own on the way to a server connection. */
import { systemEnvironment } from "../../src/cli/systemEnvironment.ts";
import { Outbox } from "../../src/pool/outbox.ts";
import type { ServerConnection } from "../../src/pool/serverConnection.ts";
import { StatementNames } from "../../src/proxy/statementNames.ts";
import { ensureStatement, passNamed, StatementStore } from "../../src/proxy/statementStore.ts";
import * as send from "../../src/wire/frontendWriters.ts";
import { MessageBuilder } from "../../src/wire/messageBuilder.ts";
import type { Micro } from "./micro.ts";

const TEXT = "SELECT abalance FROM pgbench_accounts WHERE aid = $1";
const NAME = "P_0";
const BIND = "B".charCodeAt(0);

/** As much of a server connection as statements look at. */
class StandIn {
  writes = 0;
  parses = 0;
  bytes = 0;
  readonly statements = new Map<string, boolean>();
  readonly shapes = new Map<string, string>();
  readonly settings = "";
  unnamedStatement: object | null = null;
  readonly replies = {
    status: "I",
    groups: [],
    expectParse: () => void (this.parses += 1),
    expectClose() {},
  };
  readonly outbox = new Outbox({
    write: (bytes) => {
      this.writes += 1;
      this.bytes += bytes.length;
      return true;
    },
  });
}

/** A Bind of the named statement, with one parameter and no formats. */
const bind = (): Buffer => {
  const value = Buffer.from("123456");
  return new MessageBuilder(BIND)
    .cstring("")
    .cstring(NAME)
    .int16(0)
    .int16(1)
    .int32(value.length)
    .bytes(value)
    .int16(0)
    .finish();
};

/** `connections` take turns, as with a client that has another one for each transaction. */
const rename = (connections: number): Micro => ({
  name: `rename-${connections}`,
  about: `a Bind of a named statement, on ${connections} server connection${connections === 1 ? "" : "s"} in turn`,
  setUp() {
    const store = new StatementStore(new StatementNames(1_000, true, systemEnvironment.clock));
    const parsed = send.parse({ name: NAME, text: TEXT, parameterTypes: [23] });
    store.keep(NAME, store.read(parsed, 0, parsed.length, true).statement);
    const message = bind();
    const standIns = Array.from({ length: connections }, () => new StandIn());
    let next = 0;
    const sum = (of: (one: StandIn) => number) => standIns.reduce((total, one) => total + of(one), 0);
    return {
      run(times) {
        for (let i = 0; i < times; i++) {
          const connection = standIns[next]! as unknown as ServerConnection;
          next = (next + 1) % connections;
          const statement = store.find(NAME)!;
          ensureStatement(connection, statement);
          passNamed(connection, statement, message, 0, message.length);
          connection.outbox.flush();
        }
      },
      counts: () => ({
        writes: sum(({ writes }) => writes),
        parses: sum(({ parses }) => parses),
        bytes: sum(({ bytes }) => bytes),
      }),
    };
  },
});

export const RENAMES: readonly Micro[] = [rename(1), rename(20)];
