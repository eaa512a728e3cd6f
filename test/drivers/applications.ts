/** The applications of test/drivers: how each is started, and whether this machine has what it needs. */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Endpoint } from "../../bench/endpoint.ts";

export interface Application {
  /** As it stands in the table. */
  readonly name: string;
  /** The npm packages it talks through; none for a program of the machine's. */
  readonly packages: readonly string[];
  /** How it is started, and the version of its driver; or a sentence that says what is missing. */
  find(): Found | string;
}

export interface Found {
  readonly command: string;
  readonly args: readonly string[];
  readonly version: string;
}

export const HERE = import.meta.dirname;
const JDBC_JAR = "/usr/share/java/postgresql.jar";

export const APPLICATIONS: readonly Application[] = [
  fromNpm("pg", "pg.ts", ["pg"]),
  fromNpm("pg streams", "pgStreams.ts", ["pg-cursor", "pg-query-stream", "pg-copy-streams"]),
  fromNpm("postgres.js", "postgres.ts", ["postgres"]),
  fromNpm("TypeORM", "typeorm.ts", ["typeorm"]),
  fromNpm("Sequelize", "sequelize.ts", ["sequelize"]),
  fromNpm("Knex", "knex.ts", ["knex"]),
  fromNpm("Drizzle", "drizzle.ts", ["drizzle-orm"]),
  fromNpm("Kysely", "kysely.ts", ["kysely"]),
  { name: "psycopg2", packages: [], find: findPsycopg2 },
  { name: "pgjdbc", packages: [], find: findJdbc },
  { name: "psql", packages: [], find: findPsql },
];

/** What an application needs to know of the way to the database. */
export function environmentFor({ host, port, user, database }: Endpoint): NodeJS.ProcessEnv {
  const address = `${host}:${port}/${database}`;
  return {
    ...process.env,
    NODE_NO_WARNINGS: "1",
    DATABASE_URL: `postgres://${user}@${address}`,
    JDBC_URL: `jdbc:postgresql://${address}?user=${user}`,
  };
}

function fromNpm(name: string, file: string, packages: readonly string[]): Application {
  const find = () => {
    const versions = packages.map(versionOf);
    if (versions.includes(null)) return `${name} is missing: npm ci in test/drivers`;
    const named = packages.map((one, index) => `${one} ${versions[index]}`);
    const version = packages.length === 1 ? versions[0]! : `(${named.join(", ")})`;
    return { command: process.execPath, args: [join(HERE, "apps", file)], version };
  };
  return { name, packages, find };
}

/** pg is there for all of pgxa. */
function versionOf(name: string): string | null {
  for (const folder of [HERE, join(HERE, "../..")]) {
    const file = join(folder, "node_modules", name, "package.json");
    if (existsSync(file)) return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
  }
  return null;
}

function findPsycopg2(): Found | string {
  for (const command of ["python3", "/usr/bin/python3"]) {
    const version = said(command, ["-c", "import psycopg2; print(psycopg2.__version__)"]);
    if (version !== null) {
      return { command, args: [join(HERE, "apps/psycopg2App.py")], version: version.split(" ")[0]! };
    }
  }
  return "psycopg2 is missing: apt-get install python3-psycopg2";
}

/** Java runs a single source file; that takes the compiler. */
function findJdbc(): Found | string {
  const isCompiler = said("javac", ["-version"]) !== null;
  const isDriver = existsSync(JDBC_JAR);
  const absent = [
    ...(isCompiler ? [] : ["default-jdk-headless"]),
    ...(isDriver ? [] : ["libpostgresql-jdbc-java"]),
  ];
  if (absent.length > 0) return `pgjdbc is missing: apt-get install ${absent.join(" ")}`;
  const versions = readdirSync(dirname(JDBC_JAR)).map((jar) => /^postgresql-(\d[\d.]*)\.jar$/.exec(jar)?.[1]);
  const version = versions.find((one) => one !== undefined) ?? "unknown";
  return { command: "java", args: ["-cp", JDBC_JAR, join(HERE, "apps/JdbcApp.java")], version };
}

function findPsql(): Found | string {
  const version = said("psql", ["--version"]);
  if (version === null) return "psql is missing: apt-get install postgresql-client";
  return {
    command: process.execPath,
    args: [join(HERE, "apps/psql.ts")],
    version: /\d+(\.\d+)*/.exec(version)?.[0] ?? "unknown",
  };
}

/** The first line a program says; null if it is not there or fails. */
function said(command: string, args: readonly string[]): string | null {
  const { status, stdout } = spawnSync(command, args, { encoding: "utf8" });
  return status === 0 ? stdout.trim().split("\n")[0]! : null;
}
