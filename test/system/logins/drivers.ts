/** Programs that log in, each with the driver that it is about. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import pg from "pg";
import type { Found } from "../../drivers/applications.ts";
import { APPLICATIONS } from "../../drivers/applications.ts";

const run = promisify(execFile);
const HERE = import.meta.dirname;

export interface Attempt {
  readonly user: string;
  readonly password: string;
}

export interface LoginDriver {
  readonly name: string;
  /** Why it cannot be tried here; false if it can. */
  readonly skip: string | false;
  /** What came of each attempt: `in`, or what the driver says. */
  logIn(port: number, attempts: readonly Attempt[]): Promise<readonly string[]>;
}

const found = (name: string): Found | string => APPLICATIONS.find((one) => one.name === name)!.find();
const skipOf = (name: string): string | false => {
  const program = found(name);
  return typeof program === "string" ? program : false;
};
const argumentsOf = (attempts: readonly Attempt[]): string[] =>
  attempts.flatMap(({ user, password }) => [user, password]);
const linesOf = (text: string): readonly string[] => text.trimEnd().split("\n");

async function withPg(port: number, { user, password }: Attempt): Promise<string> {
  const client = new pg.Client({ host: "127.0.0.1", port, database: "bank", user, password });
  client.on("error", () => {});
  try {
    await client.connect();
    await client.query("SELECT 1");
    return "in";
  } catch (error) {
    return (error as Error).message;
  } finally {
    await client.end().catch(() => {});
  }
}

async function withPsql(port: number, { user, password }: Attempt): Promise<string> {
  const to = [
    "-X",
    "-w",
    "-h",
    "127.0.0.1",
    "-p",
    String(port),
    "-U",
    user,
    "-d",
    "bank",
    "-Atc",
    "SELECT 'in'",
  ];
  const env = { ...process.env, PGPASSWORD: password, PGSSLMODE: "disable", PGPASSFILE: "none" };
  return run("psql", to, { env }).then(
    ({ stdout }) => stdout.trim(),
    (error: { stderr: string }) => error.stderr.trim(),
  );
}

async function inTurn(attempts: readonly Attempt[], one: (attempt: Attempt) => Promise<string>) {
  const said: string[] = [];
  for (const attempt of attempts) said.push(await one(attempt));
  return said;
}

export const LOGIN_DRIVERS: readonly LoginDriver[] = [
  { name: "pg", skip: false, logIn: (port, attempts) => inTurn(attempts, (one) => withPg(port, one)) },
  {
    name: "psql",
    skip: skipOf("psql"),
    logIn: (port, attempts) => inTurn(attempts, (one) => withPsql(port, one)),
  },
  {
    name: "psycopg2",
    skip: skipOf("psycopg2"),
    async logIn(port, attempts) {
      const { command } = found("psycopg2") as Found;
      const { stdout } = await run(command, [join(HERE, "login.py"), String(port), ...argumentsOf(attempts)]);
      return linesOf(stdout);
    },
  },
  {
    name: "pgjdbc",
    skip: skipOf("pgjdbc"),
    async logIn(port, attempts) {
      const { command, args } = found("pgjdbc") as Found;
      const url = `jdbc:postgresql://127.0.0.1:${port}/bank?sslmode=disable`;
      const own = [...args.slice(0, -1), join(HERE, "Login.java"), url, ...argumentsOf(attempts)];
      return linesOf((await run(command, own)).stdout);
    },
  },
];
