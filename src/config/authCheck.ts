// Pure.
/** What is wrong between the users and the ways in which they prove who they are. */
import { type CrossProblem, list, problem, repeated } from "./crossProblem.ts";
import type { RawConfig, Section } from "./reader.ts";
import type { Value } from "./values.ts";

/** Every problem of `users` and `auth`. */
export function userProblems(raw: RawConfig): readonly CrossProblem[] {
  const users = list(raw, "users");
  const names = users.map((user) => user.get("name"));
  const auth: Section = raw.sections.get("auth") ?? new Map();
  return [
    ...methodProblems(auth),
    ...passThroughProblems(raw, auth),
    ...queryProblems(raw, auth),
    ...nobodyProblem(users, auth),
    ...users.flatMap((user, i) => passwordProblem(user.get("password"), auth, `users[${i}]`)),
    ...repeated(names, (i, first) => [
      `users[${i}].name`,
      `is that of users[${first}] too: ${JSON.stringify(names[i])}`,
      "Keep one of them.",
    ]),
  ];
}

/** Methods for which pgxa has to know a password. */
const PROVING: ReadonlySet<unknown> = new Set(["scram-sha-256", "md5", "password"]);

const mustProve = (auth: Section): boolean =>
  PROVING.has(auth.get("method")) && auth.get("trust_loopback") === false;
const asksOthers = (auth: Section): boolean => auth.has("users_file") || auth.has("query_user");

function methodProblems(auth: Section): readonly CrossProblem[] {
  const isHba = auth.get("method") === "hba";
  const problems: CrossProblem[] = [];
  if (isHba && !auth.has("hba_file")) {
    problems.push(problem("auth.hba_file", "is missing, and auth.method is hba", "Give the file."));
  }
  if (isHba && auth.get("trust_loopback") === true) {
    const advice = "Put a line such as `host all all samehost trust` into the file instead.";
    problems.push(problem("auth.trust_loopback", "is not looked at: auth.hba_file decides", advice));
  }
  for (const name of isHba || !auth.has("method") ? [] : ["hba_file", "ident_file"]) {
    if (!auth.has(name)) continue;
    problems.push(problem(`auth.${name}`, "is not looked at", "Set auth.method to hba, or remove it."));
  }
  return problems;
}

function passThroughProblems(raw: RawConfig, auth: Section): readonly CrossProblem[] {
  if (auth.get("pass_through") !== true) return [];
  const problems: CrossProblem[] = [];
  if (list(raw, "shards").length > 1) {
    const says =
      "needs one shard: what a role has prepared only that role may commit, and recovery has no client";
    problems.push(problem("auth.pass_through", says, "Leave it out; pgxa logs in as shards[].user."));
  }
  if (["trust", "cert", "peer", "md5"].includes(String(auth.get("method")))) {
    const says = `has nothing to pass: auth.method is ${auth.get("method")}`;
    problems.push(problem("auth.pass_through", says, "Set auth.method to scram-sha-256 or password."));
  }
  return problems;
}

function queryProblems(raw: RawConfig, auth: Section): readonly CrossProblem[] {
  const shard = auth.get("query_shard");
  const shards = list(raw, "shards").flatMap((one) => one.get("name") ?? []);
  const problems: CrossProblem[] = [];
  if (shard !== undefined && !shards.includes(shard)) {
    const advice = `The shards are ${shards.join(", ")}.`;
    problems.push(problem("auth.query_shard", `names no shard: ${JSON.stringify(shard)}`, advice));
  }
  if (!/\$1(?!\d)/.test(String(auth.get("query") ?? "$1"))) {
    const advice = "Compare the name with $1, so that it is never part of the text.";
    problems.push(problem("auth.query", "does not ask about $1", advice));
  }
  return problems;
}

function nobodyProblem(users: readonly Section[], auth: Section): readonly CrossProblem[] {
  if (!mustProve(auth) || users.length > 0 || asksOthers(auth)) return [];
  const advice = "Name a user with a password, or trust clients.";
  return [problem("users", "is empty, so that nobody can log in", advice)];
}

/** Both forms are PostgreSQL's: https://www.postgresql.org/docs/current/catalog-pg-authid.html */
const MD5_HASH = /^md5[0-9a-f]{32}$/;
const SCRAM_SECRET = /^SCRAM-SHA-256\$[1-9]\d{0,8}:[A-Za-z0-9+/=]+\$[A-Za-z0-9+/=]{44}:[A-Za-z0-9+/=]{44}$/;

function passwordProblem(password: Value | undefined, auth: Section, path: string): readonly CrossProblem[] {
  const advice = "Give the password itself, or the user's SCRAM-SHA-256 secret from pg_authid.";
  if (password === undefined) {
    return mustProve(auth) && !asksOthers(auth)
      ? [problem(`${path}.password`, "is missing, so that this user cannot log in", advice)]
      : [];
  }
  const text = String(password);
  if (MD5_HASH.test(text) && auth.get("method") === "scram-sha-256")
    return [problem(`${path}.password`, "is an md5 hash; SCRAM cannot use it", advice)];
  if (text.startsWith("SCRAM-SHA-256$") && !SCRAM_SECRET.test(text)) {
    return [problem(`${path}.password`, "is a SCRAM-SHA-256 secret that is not whole", advice)];
  }
  return [];
}
