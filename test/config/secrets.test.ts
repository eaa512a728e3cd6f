// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the configuration's own notation
/** Passwords are shown nowhere: not in what is shown of a configuration, and not in what is wrong with one. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { inspect } from "node:util";
import { Fault } from "../../src/base/fault.ts";
import { parseConfig } from "../../src/config/load.ts";
import { redacted } from "../../src/config/redact.ts";

const SECRET = "hunter2";

const file = (shardPassword: string, userPassword = shardPassword): string => `
database: bank
shards:
  - name: only
    host: db
    user: pgxa
    password: ${shardPassword}
users:
  - name: app
    password: ${userPassword}
`;

/** Everything that could be printed of the Fault. */
function shownOf(text: string): string {
  try {
    parseConfig(text, "f.yaml", { SECRET, LONG: `SCRAM-SHA-256$${SECRET}` });
  } catch (error) {
    assert.ok(error instanceof Fault, String(error));
    return inspect(error, { depth: 10, showHidden: true });
  }
  return assert.fail("there was nothing wrong");
}

describe("a secret", () => {
  it("is replaced in what is shown of a configuration", () => {
    const config = parseConfig(file("${SECRET}"), "f.yaml", { SECRET });
    assert.equal(config.shards[0]?.password, SECRET);
    const shown = redacted(config);
    assert.doesNotMatch(JSON.stringify(shown), /hunter2/);
    assert.deepEqual([shown.shards[0]?.password, shown.users[0]?.password], ["(hidden)", "(hidden)"]);
    assert.equal(shown.shards[0]?.host, "db");
  });

  it("passed through for a client is not in what is shown either", () => {
    const config = parseConfig(file("${SECRET}"), "f.yaml", { SECRET });
    const scramKeys = { clientKey: Buffer.from(SECRET), serverKey: Buffer.from(SECRET) };
    const shown = redacted({ ...config, shards: config.shards.map((shard) => ({ ...shard, scramKeys })) });
    assert.equal("scramKeys" in shown.shards[0]!, false);
  });

  it("that is not there is not made up", () => {
    const config = parseConfig(`${file("")}auth: { method: trust }`, "f.yaml", {});
    assert.equal(redacted(config).shards[0]?.password, undefined);
  });

  for (const [what, written] of [
    ["begins an alias", `*${SECRET}`],
    ["ends a list", `]${SECRET}`],
    ["begins a block", `>${SECRET}`],
    ["begins with a reserved character", `@${SECRET}`],
    ["begins a directive", `%${SECRET}`],
    ["has a colon and a space", `a: ${SECRET}`],
    ["has a quote that is not closed", `"${SECRET}`],
    ["has an unknown escape", `"\\${SECRET}"`],
    ["is a list", `[${SECRET}]`],
    ["is a map", `{ ${SECRET}: x }`],
    ["has a variable that is malformed", `"${SECRET}\${}"`],
    ["has a variable that is missing", `${SECRET}\${NOT_THERE}`],
    ["is a broken SCRAM secret", `SCRAM-SHA-256$${SECRET}`],
    ["is a broken SCRAM secret in a variable", "${LONG}"],
  ] as const) {
    it(`stays out of the problem when it ${what}`, () => {
      assert.doesNotMatch(shownOf(file(written)), /hunter2/);
    });
  }

  it("stays out of the problem when its variable is put into another option", () => {
    assert.doesNotMatch(shownOf(`${file("x")}pool: { max: "\${SECRET}" }`), /hunter2/);
    assert.doesNotMatch(shownOf(`${file("x")}auth: { method: "\${SECRET}" }`), /hunter2/);
  });

  it("may be a SCRAM-SHA-256 secret, and not an md5 hash", () => {
    const scram = `SCRAM-SHA-256$4096:${"A".repeat(22)}==$${"B".repeat(43)}=:${"C".repeat(43)}=`;
    assert.equal(parseConfig(file("x", scram), "f.yaml", {}).users[0]?.password, scram);
    assert.match(shownOf(file("x", `md5${"0a".repeat(16)}`)), /users\[0\]\.password is an md5 hash/);
  });
});
