// Pure.
/** pgxa's YAML as it is put together from another pooler's settings: sections, lists, and a comment where one helps. */

export interface Line {
  readonly text: string;
  readonly comment: string | null;
  /** Whether `text` may name environment variables. */
  readonly isRaw: boolean;
}

export type Block = Map<string, Line>;

export class Draft {
  readonly root: Block = new Map();
  readonly sections = new Map<string, Block>();
  readonly lists = new Map<string, Block[]>();
  /** Users that cannot log in, and are not in the file. */
  readonly leftOut: string[] = [];

  /** Sets `section.name`; what was set before stays. */
  set(path: string, text: string, comment: string | null = null): void {
    const [section = "", name = ""] = path.split(".");
    const block = this.sections.get(section) ?? new Map();
    this.sections.set(section, block);
    put(block, name, text, comment);
  }

  has(path: string): boolean {
    const [section = "", name = ""] = path.split(".");
    return this.sections.get(section)?.has(name) ?? false;
  }

  /** A new entry of `list`. */
  add(list: string): Block {
    const block: Block = new Map();
    this.lists.set(list, [...(this.lists.get(list) ?? []), block]);
    return block;
  }

  render(head: readonly string[]): string {
    const lines = head.map((line) => (line === "" ? "#" : `# ${line}`));
    lines.push("", ...blockLines(this.root, ""));
    for (const [list, blocks] of this.lists) {
      lines.push("", `${list}:`);
      for (const block of blocks) {
        lines.push(
          ...blockLines(block, "    ").map((line, i) => (i === 0 ? `  - ${line.trimStart()}` : line)),
        );
      }
    }
    for (const [section, block] of this.sections) lines.push("", `${section}:`, ...blockLines(block, "  "));
    if (this.leftOut.length > 0) {
      lines.push("", "# Left out, for they have neither a clear-text password nor a SCRAM secret:");
      lines.push(...this.leftOut.map((name) => `#   ${JSON.stringify(name)}`));
    }
    return `${lines.join("\n")}\n`;
  }
}

export function put(block: Block, name: string, text: string, comment: string | null = null): void {
  if (!block.has(name)) block.set(name, { text, comment, isRaw: false });
}

/** An environment variable; without a `fallback` it has to be set. */
export function putVariable(
  block: Block,
  name: string,
  variable: string,
  fallback: string | null,
  comment: string | null = null,
): void {
  const text = `\${${variable}${fallback === null ? "" : `:-${fallback}`}}`;
  if (!block.has(name)) block.set(name, { text, comment, isRaw: true });
}

const blockLines = (block: Block, indent: string): readonly string[] =>
  [...block].map(([name, { text, comment, isRaw }]) => {
    const shown = isRaw ? text : scalar(text);
    return `${indent}${name}: ${shown}${comment === null ? "" : ` # ${comment}`}`;
  });

/** A text that YAML cannot take for anything else, and pgxa not for an environment variable. */
function scalar(text: string): string {
  if (/^[A-Za-z0-9_./][A-Za-z0-9_./:-]*$/.test(text) && !text.endsWith(":")) return text;
  return JSON.stringify(text.replaceAll(/\$(?=\{)/g, "$$$$"));
}
