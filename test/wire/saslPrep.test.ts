import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { saslPrep } from "../../src/wire/saslPrep.ts";

const cases: readonly [why: string, password: string, prepared: string][] = [
  ["ASCII stays as it is", "pencil with ~ and spaces ", "pencil with ~ and spaces "],
  ["the soft hyphen goes (RFC 4013's first example)", "I\u00adX", "IX"],
  ["case is kept (its third)", "\u00dcSER", "\u00dcSER"],
  ["a compatibility letter is normalised (its fourth)", "\u00aa", "a"],
  ["a Roman numeral is normalised (its fifth)", "\u2168", "IX"],
  ["a combining mark joins its letter", "o\u0308", "\u00f6"],
  ["exotic spaces become spaces", "a\u00a0b\u3000c\u200bd", "a b c d"],
  ["joiners and variation selectors go", "a\u200db\ufe0fc\ufeffd\u2060", "abcd"],
  ["right-to-left text stays if it has one direction", "\u05d0\u05d1", "\u05d0\u05d1"],
  ["a right-to-left presentation form is normalised", "\ufb21", "\u05d0"],
];

/** What the profile prohibits is taken as it is, and so is the compatibility letter in front. */
const prohibited: readonly [why: string, password: string][] = [
  ["a control character (RFC 4013's seventh example)", "\u0007"],
  ["a control character beside others", "\u00aa\u0085"],
  ["a character for private use", "\u00aa\ue000"],
  ["a lone surrogate", "\u00aa\ud800"],
  ["a noncharacter", "\u00aa\ufdd0"],
  ["a replacement character", "\u00aa\ufffd"],
  ["a line separator", "\u00aa\u2028"],
  ["a deprecated tone mark", "\u00aa\u0340"],
  ["a tag", "\u00aa\u{e0041}"],
  ["a code point younger than Unicode 3.2", "\u00aa\u{1f600}"],
  ["both directions at once", "\u00aa\u05d0"],
  ["a left-to-right letter amid right-to-left ones", "\u05d0\u00aa\u05d0"],
  ["right-to-left text with a digit at its end (its eighth)", "\u0627\u0661\u2460"],
  ["nothing but what goes", "\u00ad\u200d"],
];

describe("SASLprep", () => {
  for (const [why, password, prepared] of cases) it(why, () => assert.equal(saslPrep(password), prepared));

  for (const [why, password] of prohibited) {
    it(`leaves a password as it is for ${why}`, () => assert.equal(saslPrep(password), password));
  }

  it("makes the same of what it made already", () => {
    const letters = fc.string({ unit: fc.constantFrom(..."aZ9 \u00e4\u00df\u00aa\u2168\u3000\u00ad\u0308") });
    fc.assert(
      fc.property(letters, (password) => assert.equal(saslPrep(saslPrep(password)), saslPrep(password))),
    );
  });
});
