/** docs/console.md, with its tables made from what the console knows. */
import { CONTROLS, SHOWS } from "../../src/admin/console.ts";
import { OWN_SHOWS } from "../../src/admin/ownShows.ts";
import { PEER_SHOWS } from "../../src/admin/peerShows.ts";
import { RESOLVE_SAYS, RESOLVE_USAGE } from "../../src/admin/resolveCommand.ts";
import type { Show } from "../../src/admin/show.ts";
import { ACROSS, type Across } from "../../src/admin/workers/shows.ts";
import { MADE, table } from "./pageParts.ts";

const ARGUMENTS = {
  nothing: "",
  maybe: " [database]",
  database: " database",
  id: " id",
  mode: " [mode]",
} as const;

const shows = (of: Readonly<Record<string, Show>>): string =>
  table(
    ["command", "shows", "columns"],
    Object.entries(of).map(([name, { says, columns, needsAdmin }]) => [
      `\`SHOW ${name}\``,
      needsAdmin ? `${says} (for those who may administer)` : says,
      columns.map((column) => column.name).join(", "),
    ]),
  );

const controls = (): string =>
  table(
    ["command", "does"],
    [
      ...Object.entries(CONTROLS).map(([name, { says, takes }]) => [`\`${name}${ARGUMENTS[takes]}\``, says]),
      [`\`${RESOLVE_USAGE}\``, RESOLVE_SAYS],
    ],
  );

/** The tables that are made in one way of those of several workers. */
const listOf = (how: Across["how"]): string =>
  Object.entries(ACROSS)
    .flatMap(([name, across]) => (across.how === how ? [name] : []))
    .join(", ");

export const consolePage = (): string => `# The console

${MADE}

A client that names the database \`pgxa\` or \`pgbouncer\` talks to pgxa itself:

\`\`\`
psql -h 127.0.0.1 -p 6432 -U postgres pgxa -c 'SHOW POOLS'
\`\`\`

- Commands are case-insensitive; a name in double quotes is taken as it is written; comments are passed over.
- Several commands in one query run in order, up to the first that fails.
- Both protocols work, text and binary, so any driver does; commands take no parameters.
- What drivers and pools send by themselves (\`SET\`, \`BEGIN\`, \`SELECT 1\`, \`SHOW server_version\`, \`DISCARD ALL\`, …) is
  answered as by a database.
- A cancel (Ctrl-C) ends the wait for a command such as \`PAUSE\`, and not what it has begun.
- A user who may only look gets 42501 for every command that changes something.
- With \`workers\` above one it is the same console in every worker, of all of them together: [With several workers](#with-several-workers).
- ${Object.keys(SHOWS).length} tables can be shown; \`SHOW HELP\` lists them and the commands.

## pgxa's own tables

The column \`client\` is the process id that the client was given (\`pg_backend_pid()\`), as in SHOW CLIENTS the column \`id\`.
\`SHOW IN_DOUBT\` is empty in good times. What is there holds locks and keeps VACUUM from cleaning up, the more the higher
\`xmin_age\`; its \`reason\` says what is missing, and pgxa goes on trying. [docs/in-doubt.md](in-doubt.md) says how to read it, and when
an operator has to do something.

${shows(OWN_SHOWS)}

## PgBouncer's tables

These have the columns and types of PgBouncer 1.25, so that pgbouncer_exporter and what else reads PgBouncer reads pgxa.
Times and averages of times are in microseconds.

${shows(PEER_SHOWS)}

Where pgxa differs:

- A *query* is what ends with a ReadyForQuery: a simple query, or a batch up to its Sync. \`query_time\` and \`xact_time\` do not
  have the wait for a server connection in them; \`wait_time\` has it.
- Bytes are those of the protocol, after the login and without TLS.
- A server connection in SHOW POOLS counts for the user whose client holds it, and while nobody does for the role that
  pgxa logged in as. In front of several shards a database's figures are those of all shards together.
- The numbers of cancel requests, of peers and of DNS are 0, and so are limits that pgxa does not have.
- \`SHOW FDS\` has no descriptors, keys or passwords; \`SHOW MEM\` has the memory of the process.
- \`SHOW CONFIG\` has pgxa's options by their paths, with secrets hidden, and besides them \`max_client_conn\` and
  \`max_user_connections\`, which exporters look for.

## Commands

${controls()}

\`mode\` is \`WAIT_FOR_SERVERS\` or \`WAIT_FOR_CLIENTS\`. \`SET option = value\` changes an option of the configuration that can be
changed live, by its path, until the next restart: \`SET log.level = debug\`.

## With several workers

A console is served by whichever worker accepted it, and what it shows and does is that of all. So two consoles never
contradict each other:

- ${listOf("rows")}: the rows of all workers, each once.
- ${listOf("sums")}: numbers of all workers added up, and what follows from them: averages are those of all queries, a wait is the
  longest, a shard is as the worker sees it that sees the worst.
- ${listOf("same")}: the same in every worker.

Ids are unique over the workers; \`SHOW DEADLOCKS\` numbers the deadlocks of all in the order of time. \`SHOW MEM\` has the memory of all
processes, with their parent.

A command is done when all workers have done it. PAUSE and WAIT_CLOSE wait for the transactions of all; KILL_CLIENT
reaches the worker that has the client; SHUTDOWN and DRAIN end all. If some have done it and some have refused, the error
is 58000, and its DETAIL says which worker refused, and why. A worker that dies is followed by one that is paused, has databases disabled and options
set as the others. A worker that does not answer within five seconds is left out of a table.
`;
