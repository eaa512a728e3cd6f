/**
 * The console: what its commands mean, and who may give them.
 *
 * A statement is understood first, which tells the columns of its answer, and run later; so both protocols are served
 * by the same code. Who may only look gets 42501 for everything else.
 */
import { Fault } from "../base/fault.ts";
import type { Column } from "../wire/backendWriters.ts";
import { columns, type Row, row } from "./consoleTable.ts";
import { plainText, type Statement, type Word } from "./consoleText.ts";
import { answerProbe } from "./driverProbes.ts";
import type { Operations, ShutdownMode } from "./operations.ts";
import { OWN_SHOWS } from "./ownShows.ts";
import { PEER_SHOWS } from "./peerShows.ts";
import { RESOLVE_COLUMNS, RESOLVE_SAYS, RESOLVE_USAGE, readResolve, resolveRows } from "./resolveCommand.ts";
import type { Show } from "./show.ts";
import type { Sources } from "./views.ts";
import { ACROSS } from "./workers/shows.ts";

/** `stats` may only look. */
export type ConsoleRole = "admin" | "stats";

export interface ConsoleUser {
  readonly name: string;
  readonly role: ConsoleRole;
}

/** A statement that was understood. */
export interface ConsoleCommand {
  /** Null: it answers without rows. */
  readonly columns: readonly Column[] | null;
  readonly tag: string;
  /** What it does to the transaction block that a driver believes to be in. */
  readonly block?: "begin" | "end";
  /** Rejects with a Fault. */
  run(): readonly Row[] | Promise<readonly Row[]>;
}

type Operate = (operations: Operations, name: string | undefined) => Promise<void>;

interface Control {
  readonly says: string;
  /** What comes behind it: nothing, perhaps a database, surely one, or something of its own. */
  readonly takes: "nothing" | "maybe" | "database" | "id" | "mode";
  readonly operate: Operate;
}

const MODES: Readonly<Record<string, ShutdownMode>> = {
  "": "immediate",
  WAIT_FOR_SERVERS: "wait_for_servers",
  WAIT_FOR_CLIENTS: "wait_for_clients",
};

export const CONTROLS: Readonly<Record<string, Control>> = {
  PAUSE: {
    says: "let no transaction begin, and wait for those that run",
    takes: "maybe",
    operate: (operations, name) => operations.pause(name),
  },
  RESUME: {
    says: "go on after PAUSE or KILL",
    takes: "maybe",
    operate: (operations, name) => operations.resume(name),
  },
  DISABLE: {
    says: "let no new client in",
    takes: "database",
    operate: (operations, name) => operations.disable(name!),
  },
  ENABLE: {
    says: "let clients in again",
    takes: "database",
    operate: (operations, name) => operations.enable(name!),
  },
  RECONNECT: {
    says: "replace every server connection when it is given back",
    takes: "maybe",
    operate: (operations, name) => operations.reconnect(name),
  },
  KILL: {
    says: "end all clients and server connections at once, and pause",
    takes: "maybe",
    operate: (operations, name) => operations.kill(name),
  },
  KILL_CLIENT: {
    says: "end one client, by the id of SHOW CLIENTS",
    takes: "id",
    operate: (operations, name) => operations.killClient(Number(name)),
  },
  SUSPEND: {
    says: "is refused: PAUSE, or a restart by SIGUSR2, does what it is for",
    takes: "nothing",
    operate: (operations) => operations.suspend(),
  },
  RELOAD: {
    says: "read the configuration again",
    takes: "nothing",
    operate: (operations) => operations.reload(),
  },
  DRAIN: {
    says: "refuse new work and let what runs come to its end",
    takes: "nothing",
    operate: (operations) => operations.drain(),
  },
  SHUTDOWN: {
    says: "end pgxa: at once, WAIT_FOR_SERVERS or WAIT_FOR_CLIENTS",
    takes: "mode",
    operate: (operations, mode) => operations.shutdown(MODES[(mode ?? "").toUpperCase()]!),
  },
  WAIT_CLOSE: {
    says: "wait until the server connections there were before RECONNECT are gone",
    takes: "maybe",
    operate: (operations, name) => operations.waitClose(name),
  },
};

const HELP_COLUMNS = columns("command:text says");

/** Everything that can be shown. */
export const SHOWS: Readonly<Record<string, Show>> = {
  ...OWN_SHOWS,
  ...PEER_SHOWS,
  HELP: { says: "this list", columns: HELP_COLUMNS, rows: () => helpRows() },
};

const ARGUMENTS: Readonly<Record<Control["takes"], string>> = {
  nothing: "",
  maybe: " [database]",
  database: " database",
  id: " id",
  mode: " [WAIT_FOR_SERVERS | WAIT_FOR_CLIENTS]",
};

const helpRows = (): readonly Row[] => [
  ...Object.entries(SHOWS).map(([name, { says }]) => row(`SHOW ${name}`, says)),
  ...Object.entries(CONTROLS).map(([name, { says, takes }]) => row(name + ARGUMENTS[takes], says)),
  row(RESOLVE_USAGE, RESOLVE_SAYS),
  row("SET option = value", "change an option that can be changed live, until the next restart"),
];

const BEGINS = /^(BEGIN|START TRANSACTION)\b/;
const ENDS = /^(COMMIT|END|ROLLBACK|ABORT)( WORK| TRANSACTION)?$/;

/** What `statement` means; throws a Fault for one that is no command, or not for this user. */
export function understand(statement: Statement, user: ConsoleUser, sources: Sources): ConsoleCommand {
  const verb = nameOf(statement[0]!);
  const rest = statement.slice(1);
  if (verb === "SHOW" && rest.length === 1) {
    const name = nameOf(rest[0]!);
    if (Object.hasOwn(SHOWS, name)) return shown(SHOWS[name]!, name, user, sources);
  }
  const probe = answerProbe(statement, user.name);
  if (probe !== null) return { ...probe, run: () => probe.rows };
  const text = plainText(statement);
  if (BEGINS.test(text)) return { columns: null, tag: "BEGIN", block: "begin", run: () => [] };
  const ends = ENDS.exec(text)?.[1];
  if (ends !== undefined) {
    const tag = ends === "ABORT" || ends === "ROLLBACK" ? "ROLLBACK" : "COMMIT";
    return { columns: null, tag, block: "end", run: () => [] };
  }
  if (verb === "RESOLVE") return resolving(rest, user, sources);
  if (verb === "SET") return setting(rest, user, sources);
  if (Object.hasOwn(CONTROLS, verb)) return control(verb, CONTROLS[verb]!, rest, user, sources);
  throw unknownCommand(text);
}

const nameOf = ({ text, kind }: Word): string => (kind === "word" ? text.toUpperCase() : "");

function shown(show: Show, name: string, user: ConsoleUser, sources: Sources): ConsoleCommand {
  if (show.needsAdmin) requireAdmin(user, `SHOW ${name}`);
  const { everywhere } = sources;
  const { facts } = ACROSS[name]!;
  if (everywhere === null || facts.length === 0) {
    return { columns: show.columns, tag: "SHOW", run: () => show.rows(sources) };
  }
  return { columns: show.columns, tag: "SHOW", run: async () => show.rows(await everywhere(facts)) };
}

function control(
  verb: string,
  { takes, operate }: Control,
  rest: Statement,
  user: ConsoleUser,
  { operations }: Sources,
): ConsoleCommand {
  requireAdmin(user, verb);
  const name = argument(verb, takes, rest);
  return {
    columns: null,
    tag: verb,
    run: async () => {
      await operate(performer(operations, verb), name);
      return [];
    },
  };
}

/** The one argument of a command; throws a Fault if it is not what the command takes. */
function argument(verb: string, takes: Control["takes"], rest: Statement): string | undefined {
  const [first, ...more] = rest;
  const usage = new Fault("console.unknown_command", {
    message: `wrong argument of ${verb}`,
    hint: `It is ${verb}${ARGUMENTS[takes]}.`,
  });
  const mayMiss = takes === "maybe" || takes === "nothing" || takes === "mode";
  if (more.length > 0 || (first === undefined && !mayMiss)) throw usage;
  if (first === undefined) return undefined;
  const isName = first.kind === "word" || first.kind === "quoted";
  if (takes === "nothing" || !isName || first.text === "") throw usage;
  if (takes === "id" && !/^\d{1,10}$/.test(first.text)) throw usage;
  if (takes === "mode" && (first.text === "" || !Object.hasOwn(MODES, first.text.toUpperCase()))) throw usage;
  return first.text;
}

function resolving(rest: Statement, user: ConsoleUser, { operations }: Sources): ConsoleCommand {
  requireAdmin(user, "RESOLVE");
  const request = readResolve(rest, `user "${user.name}" of the console`);
  const run = () => resolveRows(performer(operations, "RESOLVE"), request);
  return { columns: RESOLVE_COLUMNS, tag: "RESOLVE", run };
}

/** `SET option = value`, or with TO. */
function setting(rest: Statement, user: ConsoleUser, sources: Sources): ConsoleCommand {
  requireAdmin(user, "SET");
  const [name, sign, value, ...more] = rest;
  const isSign = sign?.text === "=" || sign?.text.toUpperCase() === "TO";
  const isName = name?.kind === "word" || name?.kind === "quoted";
  if (!isName || !isSign || value === undefined || value.kind === "sign" || more.length > 0) {
    throw new Fault("console.unknown_command", {
      message: "wrong argument of SET",
      hint: "It is SET option = value, with quotes around a value that is not one word; SHOW CONFIG has the options.",
    });
  }
  const option = changeable(name.text.toLowerCase(), sources);
  return {
    columns: null,
    tag: "SET",
    run: async () => {
      await performer(sources.operations, "SET").set(option, value.text);
      return [];
    },
  };
}

/** The path of an option that can be changed live; `log_level` is `log.level`, too. Throws a Fault for any other. */
function changeable(name: string, sources: Sources): string {
  const option = sources.options().find(({ key }) => key === name || key.replace(".", "_") === name);
  if (option === undefined) {
    throw new Fault("console.unknown_option", { message: `unrecognized configuration parameter "${name}"` });
  }
  if (option.isLive) return option.key;
  const message = `parameter "${option.key}" cannot be changed without restarting pgxa`;
  throw new Fault("console.not_live", { message });
}

function requireAdmin({ name, role }: ConsoleUser, command: string): void {
  if (role === "admin") return;
  throw new Fault("console.not_permitted", { message: `user "${name}" may not use ${command}` });
}

function performer(operations: Operations | null, verb: string): Operations {
  if (operations === null)
    throw new Fault("console.no_operations", { message: `${verb} is not possible here` });
  return operations;
}

/** No text of the user's own: it may hold what nobody else is to read. */
function unknownCommand(text: string): Fault {
  const known = text.startsWith("SHOW ")
    ? `SHOW has ${Object.keys(SHOWS).join(", ")}.`
    : `The console knows SHOW, ${Object.keys(CONTROLS).join(", ")}, RESOLVE and SET; SHOW HELP says what they are.`;
  return new Fault("console.unknown_command", { hint: known });
}
