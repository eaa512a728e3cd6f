/** docs/from-pgbouncer.md, made from the table of PgBouncer's keys. */
import { type KeyMapping, type KeySection, PGBOUNCER_KEYS } from "../../src/cli/importPgbouncerKeys.ts";

const HEADINGS: readonly (readonly [section: KeySection, heading: string])[] = [
  ["pgbouncer", "[pgbouncer]"],
  ["databases", "[databases]"],
  ["users", "[users]"],
  ["peers", "[peers]"],
];

export function fromPgbouncerPage(made: string, table: Table): string {
  return `# From PgBouncer

${made}

    pgxa import-pgbouncer pgbouncer.ini --output pgxa.yaml

reads PgBouncer's ini with what it includes and its list of users, writes a YAML for pgxa with the same limits, timeouts and
pools, and lists on standard error, with its line, what has no counterpart and what means something else. Then

    pgxa check --config pgxa.yaml

- One pgxa is in front of one server (or of the shards of one database), and logs in as one role for all clients. Databases
  on another server, or with another \`user=\`, are named, and need a pgxa of their own. Where \`user=\` is missing, PgBouncer logs
  in as each client's own user: the YAML has \`\${SHARD_USER}\` there, to be set.
- A pool is that of a database, for all its users together; users take turns in its queue ([pooling](pooling.md)).
  PgBouncer has a pool for each user, so \`pool.max\` may have to be more than \`default_pool_size\`.
- Where PgBouncer's default is another than pgxa's, PgBouncer's is written: \`pool_mode\` session, \`max_client_conn\` 100,
  \`query_wait_timeout\` 120 s, \`server_connect_timeout\` 15 s. Transaction mode is worth trying: settings, prepared statements and
  LISTEN travel with their client ([sessions](sessions.md)).
- In transaction mode a transaction takes its server connection with its first statement, and not with \`BEGIN\`
  ([pooling](pooling.md#when-a-transaction-takes-a-connection)).
- The YAML has the passwords that PgBouncer's files have. With \`--output\` only you may read it.

${HEADINGS.map(([section, heading]) => sectionText(section, heading, table)).join("\n\n")}
`;
}

type Table = (heads: readonly string[], rows: readonly (readonly string[])[]) => string;

function sectionText(section: KeySection, heading: string, table: Table): string {
  const rows = PGBOUNCER_KEYS.filter((one) => one.section === section);
  return `## ${heading}\n\n${table(["PgBouncer", "pgxa", ""], rows.map(row))}`;
}

function row({ key, path, says, isNeedless }: KeyMapping): readonly string[] {
  const option = path === null ? (isNeedless ? "needless" : "none") : `\`${path}\``;
  return [`\`${key}\``, option, says];
}
