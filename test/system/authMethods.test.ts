/** Every method that asks for a password, with every form of secret, against real drivers, right and wrong. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { buildScramSecret, formatScramSecret } from "../../src/wire/scramSecret.ts";
import { type Attempt, LOGIN_DRIVERS } from "./logins/drivers.ts";
import { Stage } from "./stage.ts";

const WAIT = { timeout: 120_000 };
const PASSWORD = "pa\"ss w'örd\\";
const HBA = `
host bank  /^scram_     127.0.0.0/8  scram-sha-256
host bank  /^md5_       127.0.0.1 255.255.255.255  md5
host all   /^password_  samehost     password
host all   "trusted"    all          trust
host all   rejected     all          reject
`;

const FORMS: Readonly<Record<string, (user: string) => string>> = {
  scram: () => formatScramSecret(buildScramSecret(PASSWORD, Buffer.alloc(16, 5), 4096)),
  md5: (user) =>
    `md5${createHash("md5")
      .update(PASSWORD + user)
      .digest("hex")}`,
  clear: () => PASSWORD,
};
const METHODS: Readonly<Record<string, readonly string[]>> = {
  scram: ["scram", "clear"],
  md5: ["scram", "md5", "clear"],
  password: ["scram", "md5", "clear"],
};
const USERS = Object.entries(METHODS).flatMap(([method, forms]) =>
  forms.map((form) => ({ name: `${method}_${form}`, secret: FORMS[form]!(`${method}_${form}`) })),
);

const quoted = (text: string): string => `"${text.replaceAll('"', '""')}"`;

let home: string;
let stage: Stage;

before(async () => {
  home = mkdtempSync(join(tmpdir(), "pgxa-auth-"));
  writeFileSync(join(home, "hba.conf"), HBA);
  // Half of the users are in the configuration, half in a file.
  const inFile = USERS.filter((_, i) => i % 2 === 1);
  writeFileSync(
    join(home, "users.txt"),
    ['"trusted" ""', ...inFile.map(({ name, secret }) => `${quoted(name)} ${quoted(secret)}`)].join("\n"),
  );
  stage = await Stage.open({
    shards: 1,
    config: {
      auth: {
        method: "hba",
        hba_file: join(home, "hba.conf"),
        users_file: join(home, "users.txt"),
        failures_max: 0,
      },
      users: USERS.filter((_, i) => i % 2 === 0).map(({ name, secret }) => ({ name, password: secret })),
    },
  });
});
after(async () => {
  await stage?.stop();
  rmSync(home, { recursive: true, force: true });
});

for (const driver of LOGIN_DRIVERS) {
  describe(`with ${driver.name}`, { skip: driver.skip }, () => {
    const outcome = async (attempts: readonly Attempt[]) =>
      Object.fromEntries(
        (await driver.logIn(stage.port, attempts)).map((said, i) => [attempts[i]!.user, said]),
      );

    test("the right password is right", WAIT, async () => {
      const said = await outcome(USERS.map(({ name }) => ({ user: name, password: PASSWORD })));
      assert.deepEqual(said, Object.fromEntries(USERS.map(({ name }) => [name, "in"])));
    });

    test("a wrong one is wrong, and so is anyone's who does not exist", WAIT, async () => {
      const strangers = Object.keys(METHODS).map((method) => `${method}_nobody`);
      const users = [...USERS.map(({ name }) => name), ...strangers];
      const said = await outcome(users.map((user) => ({ user, password: "wrong" })));
      for (const user of users)
        assert.ok(said[user]?.includes(`password authentication failed for user "${user}"`), `${said[user]}`);
    });

    test("the secret itself is no password", WAIT, async () => {
      const users = USERS.filter(({ name }) => !name.endsWith("clear"));
      const said = await outcome(users.map(({ name, secret }) => ({ user: name, password: secret })));
      for (const { name } of users) assert.match(said[name]!, /password authentication failed/);
    });

    test("rules let in without a password, and keep out", WAIT, async () => {
      const users = ["trusted", "rejected", "stranger"];
      const said = await outcome(users.map((user) => ({ user, password: "x" })));
      assert.equal(said["trusted"], "in");
      const who = (user: string): string =>
        `host "127.0.0.1", user "${user}", database "bank", no encryption`;
      assert.ok(said["rejected"]!.includes(`pg_hba.conf rejects connection for ${who("rejected")}`));
      assert.ok(said["stranger"]!.includes(`no pg_hba.conf entry for ${who("stranger")}`));
    });
  });
}
