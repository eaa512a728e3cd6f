/** `pgxa resolve` through the console of the pgxa that runs with the same configuration. */
import { Client } from "pg";
import type { ResolveRemark, ResolveRequest } from "../admin/operations.ts";
import type { Config } from "../config/config.ts";
import { CONSOLE_DATABASE } from "../proxy/gate.ts";
import type { Resolver } from "./resolve.ts";

const TIMEOUT_MS = 10_000;
const RESOLVE_TIMEOUT_MS = 60_000;
const SECRET = /^(SCRAM-SHA-256\$|md5)/;

export class ConsoleResolution implements Resolver {
  readonly #client: Client;
  readonly #command: string;
  readonly #reason: string;

  private constructor(client: Client, { gtrid, outcome, reason }: ResolveRequest) {
    this.#client = client;
    this.#command = `RESOLVE ${literal(gtrid)} ${outcome === "commit" ? "COMMIT" : "ROLLBACK"}`;
    this.#reason = reason;
  }

  static async open(config: Config, request: ResolveRequest, named?: string): Promise<ConsoleResolution> {
    const user = named ?? config.console.adminUsers[0];
    if (user === undefined) {
      throw new Error(
        "A pgxa that runs has the decision log, and nobody may administer it by its console.\nGive console.admin_users in its configuration, or stop it.",
      );
    }
    const client = new Client({ ...addressOf(config), user, password: passwordOf(config, user) });
    client.on("error", () => {}); // what ran is rejected
    const resolution = new ConsoleResolution(client, request);
    try {
      await client.connect();
    } catch (error) {
      throw new Error(
        `A pgxa that runs has the decision log, and its console could not be used: ${(error as Error).message}.\n` +
          `Log in there, and type: ${resolution.#command}`,
      );
    }
    return resolution;
  }

  async look(): Promise<readonly ResolveRemark[]> {
    const remarks = await this.#ask(this.#command);
    return remarks.filter(({ says }) => !says.startsWith("nothing was done"));
  }

  async resolve() {
    const remarks = await this.#ask(`${this.#command} CONFIRM ${literal(this.#reason)}`);
    return remarks.map((remark) => ({ ...remark, isDone: remark.isDone ?? false }));
  }

  async close(): Promise<void> {
    await this.#client.end().catch(() => {});
  }

  async #ask(command: string): Promise<readonly (ResolveRemark & { readonly isDone?: boolean })[]> {
    try {
      const { rows } = await this.#client.query(command);
      return rows.map(({ shard, gid, says, done }) => ({ shard, gid, says, isDone: done === true }));
    } catch (error) {
      const { message, detail, hint } = error as Error & { detail?: string; hint?: string };
      throw new Error([message, detail, hint].filter((line) => line !== undefined).join("\n"));
    }
  }
}

const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`;

function addressOf({ listen, clientTls }: Config) {
  const { host, port, unixDirectory } = listen;
  const isAny = host === "0.0.0.0" || host === "::" || host === "";
  const needsTls = /^(require|verify)/.test(clientTls.mode);
  return {
    host: unixDirectory ?? (isAny ? "127.0.0.1" : host),
    port,
    database: CONSOLE_DATABASE,
    connectionTimeoutMillis: TIMEOUT_MS,
    query_timeout: RESOLVE_TIMEOUT_MS,
    application_name: "pgxa resolve",
    // The certificate is of the name that clients use, which need not be this one.
    ssl: unixDirectory === undefined && needsTls ? { rejectUnauthorized: false } : false,
  };
}

/** In clear text; a secret as pg_authid has it does not log in. */
function passwordOf({ users }: Config, user: string): string | undefined {
  const { PGPASSWORD } = process.env;
  const listed = users.find(({ name }) => name === user)?.password;
  return PGPASSWORD ?? (listed === undefined || SECRET.test(listed) ? undefined : listed);
}
