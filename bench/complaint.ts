// Pure.
/**
 * One line out of the last words of a program that failed: the first that names an error, else the last one.
 */

const LENGTH_MAX = 300;

/** `words` is what it wrote to stdout and stderr; `name` is for the case that it wrote nothing. */
export function complaint(name: string, words: string): string {
  const lines = words.split("\n").filter((line) => line.trim() !== "");
  // Of a crash of Node: the line that throws and the version are no news, the error's own line is.
  const told = lines.find(
    (line) => /(\berror\b|\bfatal\b|\w+Error\b)/i.test(line) && !/^\s*(throw|at)\b/.test(line),
  );
  return (told ?? lines.at(-1) ?? `${name} ended without a word`).trim().slice(0, LENGTH_MAX);
}
