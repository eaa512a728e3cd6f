/** Secrets of every form, the users file, and what of them may be seen. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { inspect } from "node:util";
import { Credentials } from "../../../src/proxy/auth/credentials.ts";
import { isPassword, md5Answer, md5Of, readSecret, scramOf } from "../../../src/proxy/auth/secret.ts";
import { readUsers } from "../../../src/proxy/auth/usersFile.ts";
import { md5Password } from "../../../src/wire/md5Password.ts";
import { buildScramSecret, formatScramSecret } from "../../../src/wire/scramSecret.ts";

const SALT = Buffer.alloc(16, 7);
const MOCK = Buffer.alloc(32, 1);
const secretOf = (text: string) => readSecret(text, () => SALT);
const SCRAM = formatScramSecret(buildScramSecret("hunter2", SALT, 4096));
/** `SELECT 'md5' || md5('hunter2' || 'ann')` */
const MD5 = "md59784774440ffa395e43f805bc10b83a2";

describe("a secret", () => {
  for (const [what, text, kind] of [
    ["SCRAM", SCRAM, "scram"],
    ["md5", MD5, "md5"],
    ["a password", "hunter2", "clear"],
    ["a password that begins like md5", "md5hunter2", "clear"],
    ["an md5 hash in capitals, which is a password", MD5.toUpperCase(), "clear"],
    ["a SCRAM secret that is not whole", `${SCRAM}x`, undefined],
    ["nothing", "", undefined],
  ] as const) {
    it(`is known for what it is: ${what}`, () => assert.equal(secretOf(text)?.kind, kind));
  }

  for (const [what, text] of [
    ["SCRAM", SCRAM],
    ["md5", MD5],
    ["clear", "hunter2"],
  ] as const) {
    it(`${what} tells the right password from others`, () => {
      assert.equal(isPassword(secretOf(text), "ann", "hunter2", MOCK), true);
      for (const wrong of ["hunter3", "", "hunter", text === "hunter2" ? SCRAM : text]) {
        assert.equal(isPassword(secretOf(text), "ann", wrong, MOCK), false, wrong);
      }
    });
  }

  it("that is none is no password's", () => {
    for (const password of ["", "hunter2", "x"]) assert.equal(isPassword(null, "ann", password, MOCK), false);
  });

  it("of md5 is made with the user's name, and answered as clients do", () => {
    assert.equal(md5Of(secretOf("hunter2"), "ann"), md5Of(secretOf(MD5), "ann"));
    const salt = Buffer.from([1, 2, 3, 4]);
    assert.equal(md5Answer(md5Of(secretOf(MD5), "ann")!, salt), md5Password("ann", "hunter2", salt));
  });

  it("of SCRAM is of no use for md5, and the other way round", () => {
    assert.equal(md5Of(secretOf(SCRAM), "ann"), null);
    assert.equal(scramOf(secretOf(MD5)), null);
  });
});

describe("a users file", () => {
  it("has quotes doubled, comments, blank lines, and what follows is left alone", () => {
    const { users, problems } = readUsers(
      [
        "; a comment",
        "",
        '"ann" "hunter2"',
        `  "bob"\t"${SCRAM}"  ; more`,
        '"a ""b""" "p""w"',
        '"eve" ""',
        "# too",
      ].join("\r\n"),
      "f",
    );
    assert.deepEqual(problems, []);
    assert.deepEqual(
      [...users],
      [
        ["ann", "hunter2"],
        ["bob", SCRAM],
        ['a "b"', 'p"w'],
        ["eve", ""],
      ],
    );
  });

  it("that is wrong is refused by line, and no secret is quoted", () => {
    const { problems } = readUsers(
      'ann hunter2\n"bob" hunter2\n"" "hunter2"\n"a" "b"\n"a" "hunter2"\n"c" "hunter2',
      "f",
    );
    assert.deepEqual(
      problems.map(({ line, says }) => `${line} ${says}`),
      [
        '1 is not `"user" "secret"`',
        '2 is not `"user" "secret"`',
        "3 names no user",
        "5 names a user that is named above",
        '6 is not `"user" "secret"`',
      ],
    );
  });
});

describe("credentials", () => {
  it("show nothing of themselves to who prints them", () => {
    const keys = { clientKey: Buffer.from("hunter2"), serverKey: Buffer.from("hunter2") };
    for (const proof of [
      { kind: "password", password: "hunter2" },
      { kind: "scram", keys },
    ] as const) {
      const credentials = new Credentials("ann", proof);
      assert.equal(credentials.proof, proof);
      const shown = `${JSON.stringify(credentials)} ${inspect(credentials, { depth: 9, showHidden: true, getters: false })}`;
      assert.doesNotMatch(shown, /hunter2|68 75 6e/);
    }
  });
});
