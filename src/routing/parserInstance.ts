// Pure.
/**
 * One instance of PostgreSQL's parser in WebAssembly, and the spare that replaces it.
 *
 * A statement nested too deeply ends the instance's stack in the middle of its work. What it leaves behind is not
 * an error to recover from but a machine stopped at any instruction: its stack pointer and memory are wrong from then
 * on. So an instance that did anything but answer is dropped, as is one whose memory a huge statement has swollen
 * (WebAssembly memory never shrinks), and the spare takes its place while the next is made.
 *
 * libpg-query's own interface has one instance for the process and no way to replace it; so this uses the module below
 * it, in the way of its parseSync().
 */
// @ts-expect-error: the package has no types for its WebAssembly module.
import instantiate from "libpg-query/wasm/libpg-query.js";
import { detach } from "../base/detach.ts";

/** What the parser said of a text. */
export type ParserAnswer =
  | { readonly kind: "tree"; readonly tree: unknown }
  /** `position` counts characters from 0; below 0 it is not known. */
  | { readonly kind: "error"; readonly message: string; readonly position: number }
  /** The parser ended without an answer. */
  | { readonly kind: "crash"; readonly cause: unknown }
  /** An instance crashed just now and the next one is not made yet. */
  | { readonly kind: "absent" };

interface WasmParser {
  readonly HEAPU8: Uint8Array;
  _malloc(bytes: number): number;
  _free(address: number): void;
  lengthBytesUTF8(text: string): number;
  stringToUTF8(text: string, address: number, bytesMax: number): void;
  UTF8ToString(address: number): string;
  getValue(address: number, type: "i32"): number;
  _wasm_parse_query_raw(text: number): number;
  _wasm_free_parse_result(result: number): void;
}

/** An instance that has grown beyond this is replaced when it can be. */
const MEMORY_BYTES_MAX = 128 * 1024 * 1024;

export class ParserInstances {
  #current: WasmParser | null = null;
  #spare: WasmParser | null = null;
  #isLoading = false;

  /** Whether a text can be parsed now. */
  get isReady(): boolean {
    return this.#current !== null;
  }

  /** Makes what is missing; resolves when a text can be parsed. */
  async load(): Promise<void> {
    if (this.#current === null) this.#current = await make();
    this.#refill();
  }

  parse(text: string): ParserAnswer {
    const parser = this.#current;
    if (parser === null) return { kind: "absent" };
    try {
      const answer = ask(parser, text);
      if (parser.HEAPU8.length > MEMORY_BYTES_MAX && this.#spare !== null) this.#replace();
      return answer;
    } catch (cause) {
      this.#replace();
      return { kind: "crash", cause };
    }
  }

  #replace(): void {
    this.#current = this.#spare;
    this.#spare = null;
    this.#refill();
  }

  #refill(): void {
    if (this.#isLoading || (this.#current !== null && this.#spare !== null)) return;
    this.#isLoading = true;
    detach(this.#add(), "the parser in use, or its absence, is told apart at each statement");
  }

  async #add(): Promise<void> {
    const made = await make();
    this.#isLoading = false;
    if (this.#current === null) this.#current = made;
    else this.#spare ??= made;
    this.#refill();
  }
}

const make = (): Promise<WasmParser> => instantiate({ print() {}, printErr() {} }) as Promise<WasmParser>;

function ask(parser: WasmParser, text: string): ParserAnswer {
  const bytes = parser.lengthBytesUTF8(text) + 1;
  const address = parser._malloc(bytes);
  if (address === 0) throw new Error("the parser has no memory for the statement");
  parser.stringToUTF8(text, address, bytes);
  const result = parser._wasm_parse_query_raw(address);
  if (result === 0) throw new Error("the parser has no memory for the result");
  const answer = read(parser, result);
  parser._free(address);
  parser._wasm_free_parse_result(result);
  return answer;
}

/** PgQueryParseResult: tree, stderr, error; PgQueryError: message, function, file, line, position from 1. */
function read(parser: WasmParser, result: number): ParserAnswer {
  const word = (address: number): number => parser.getValue(address, "i32");
  const error = word(result + 8);
  if (error !== 0) {
    const message = parser.UTF8ToString(word(error));
    return { kind: "error", message, position: word(error + 16) - 1 };
  }
  return { kind: "tree", tree: JSON.parse(parser.UTF8ToString(word(result))) };
}
