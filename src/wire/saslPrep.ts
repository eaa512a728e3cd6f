// Pure.
/**
 * SASLprep (RFC 4013) as far as Postgres applies it to passwords: exotic spaces become spaces, invisible characters
 * go, the rest is normalised to NFKC. Where the profile prohibits the result, or the text is not Unicode at all,
 * Postgres takes the password as it was given; so does this.
 */

/** RFC 3454 C.1.2: spaces that are not ASCII's. */
const OTHER_SPACES = /[\u00a0\u1680\u2000-\u200b\u202f\u205f\u3000]/g;
/** RFC 3454 B.1: commonly mapped to nothing. */
const INVISIBLE = /[\u00ad\u034f\u1806\u180b-\u180d\u200c\u200d\u2060\ufe00-\ufe0f\ufeff]/gu;
/** RFC 3454 C.2 to C.9, in Unicode's own classes: controls, private use, surrogates, unassigned. */
const PROHIBITED = /[\p{Cc}\p{Co}\p{Cs}\p{Cn}\u2028\u2029\ufff9-\ufffd\u2ff0-\u2ffb\u0340\u0341\u200e\u200f\u202a-\u202e\u206a-\u206f]/u;
const RIGHT_TO_LEFT = /[\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}\p{Script=Thaana}]/u;
const LEFT_TO_RIGHT = /[\p{Script=Latin}\p{Script=Greek}\p{Script=Cyrillic}\p{Script=Han}]/u;
const ASCII = /^[\x20-\x7e]*$/;

/** The form of `password` that both sides hash. */
export function saslPrep(password: string): string {
  if (ASCII.test(password)) return password;
  const prepared = password.replaceAll(OTHER_SPACES, " ").replaceAll(INVISIBLE, "").normalize("NFKC");
  const isAllowed = prepared !== "" && !PROHIBITED.test(prepared) && hasOneDirection(prepared);
  return isAllowed ? prepared : password;
}

/** RFC 3454 section 6: text with right-to-left letters has no others, and begins and ends with them. */
function hasOneDirection(text: string): boolean {
  if (!RIGHT_TO_LEFT.test(text)) return true;
  const letters = [...text];
  return !LEFT_TO_RIGHT.test(text) && RIGHT_TO_LEFT.test(letters[0]!) && RIGHT_TO_LEFT.test(letters.at(-1)!);
}
