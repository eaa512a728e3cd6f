// Pure.
/**
 * SASLprep (RFC 4013) as Postgres applies it to passwords: exotic spaces become spaces, invisible characters go, the
 * rest is normalised to NFKC. Where the profile prohibits the text, Postgres takes the password as it was given; so
 * does this. As in `pg_saslprep`, what is prohibited is looked for before the normalisation, not after it.
 */
import { INVISIBLE, LEFT_TO_RIGHT, OTHER_SPACES, RIGHT_TO_LEFT, UNASSIGNED } from "./unicode32.ts";

/** RFC 3454 C.2 to C.9 in Unicode's own classes, which for the code points of Unicode 3.2 say the same. */
const PROHIBITED = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Cn}\p{Zl}\p{Zp}\u2ff0-\u2ffb\ufffc\ufffd]|\u0340|\u0341/u;
const ASCII = /^[\x20-\x7e]*$/;

/** The form of `password` that both sides hash. */
export function saslPrep(password: string): string {
  if (ASCII.test(password)) return password;
  const mapped = password.replaceAll(OTHER_SPACES, " ").replaceAll(INVISIBLE, "");
  const isAllowed =
    mapped !== "" && !PROHIBITED.test(mapped) && !UNASSIGNED.test(mapped) && hasOneDirection(mapped);
  return isAllowed ? mapped.normalize("NFKC") : password;
}

/** RFC 3454 section 6: text with right-to-left letters has no others, and begins and ends with them. */
function hasOneDirection(text: string): boolean {
  if (!RIGHT_TO_LEFT.test(text)) return true;
  const letters = [...text];
  return !LEFT_TO_RIGHT.test(text) && RIGHT_TO_LEFT.test(letters[0]!) && RIGHT_TO_LEFT.test(letters.at(-1)!);
}
