/**
 * Something that is done when this process is gone, however it went: by itself, by an exception, by SIGKILL.
 *
 * A shell waits for the end of a pipe whose other end this process holds, and no signal can prevent that end.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";

/**
 * `script`, with `home` as its `$0`, runs at the end of this process, or when the returned function is called, which resolves when it
 * has run. Node must not exit in between: it would wait for ever for a pipe that is being shut down and that nothing else
 * keeps it alive for.
 */
export function shellAtEnd(script: string, home: string): () => Promise<void> {
  const shell = spawn("/bin/sh", ["-c", `cat >/dev/null\n${script}`, home], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
  shell.unref();
  (shell.stdin as unknown as { unref(): void }).unref();
  return async () => {
    const ended = once(shell, "exit");
    shell.ref();
    shell.stdin.end();
    await ended;
  };
}
