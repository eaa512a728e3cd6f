// Pure.
/**
 * What is said about text that is not YAML.
 *
 * The parser's own messages quote what stands in the file, and that may be a password that begins with `*` or `]`.
 * So only its error code is used. A new code of the parser is a type error here until it has a sentence.
 */
import type { ErrorCode } from "yaml";

interface Saying {
  readonly says: string;
  readonly advice: string;
}

const QUOTE = 'Put a value with special characters in quotes: "…".';
const INDENT = "Indent with spaces, the options of a section all alike.";
const PLAIN = "Write it plainly: name: value.";

const say = (says: string, advice: string): Saying => ({ says: `is not valid YAML: ${says}`, advice });

const SAYINGS: Readonly<Record<ErrorCode, Saying>> = {
  ALIAS_PROPS: say("an alias with a tag or an anchor", PLAIN),
  BAD_ALIAS: say("an alias of nothing", QUOTE),
  BAD_COLLECTION_TYPE: say("a tag that does not fit", PLAIN),
  BAD_DIRECTIVE: say("a wrong directive", "Remove the line that begins with %."),
  BAD_DQ_ESCAPE: say(
    "an unknown escape after a backslash",
    "Write \\\\ for a backslash, or use single quotes.",
  ),
  BAD_INDENT: say("wrong indentation, or a bracket that is not closed", INDENT),
  BAD_PROP_ORDER: say("a tag or an anchor at the wrong place", PLAIN),
  BAD_SCALAR_START: say("a value cannot begin with this character", QUOTE),
  BLOCK_AS_IMPLICIT_KEY: say("a second colon in the line, or wrong indentation", QUOTE),
  BLOCK_IN_FLOW: say("an indented block within brackets", PLAIN),
  DUPLICATE_KEY: { says: "names an option twice here", advice: "Keep one of them." },
  IMPOSSIBLE: say("it cannot be understood", PLAIN),
  KEY_OVER_1024_CHARS: say("a name that is too long", QUOTE),
  MISSING_CHAR: say("a quote, comma, space or colon is missing", "Look at this line and the one before it."),
  MULTILINE_IMPLICIT_KEY: say("a name that goes over several lines", "Is a colon missing after the name?"),
  MULTIPLE_ANCHORS: say("two anchors at one place", PLAIN),
  MULTIPLE_DOCS: say("a second document", "Remove the line of three dashes and what follows it."),
  MULTIPLE_TAGS: say("two tags at one place", PLAIN),
  NON_STRING_KEY: say("a name that is no text", PLAIN),
  RESOURCE_EXHAUSTION: say("it is nested too deeply", PLAIN),
  TAB_AS_INDENT: say("a tab as indentation", INDENT),
  TAG_RESOLVE_FAILED: say("an unknown tag", QUOTE),
  UNEXPECTED_TOKEN: say("something is here that should not be", QUOTE),
};

/** What is wrong and what to do, quoting nothing. */
export const yamlSaying = (code: ErrorCode): Saying => SAYINGS[code];
