/**
 * Stops a test's servers when its process is gone, however it went: by itself, by an exception, by SIGKILL.
 *
 * The keeper is a shell that waits for the end of a pipe whose other end the test process holds. No signal can
 * prevent that end. Then it stops every server that has a data directory in the home, and removes the home.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";

const SCRIPT = `
cat >/dev/null
for file in "$0"/*/postmaster.pid; do
  [ -f "$file" ] && read -r pid <"$file" && kill -QUIT "$pid" && pids="$pids $pid"
done
tries=50
for pid in $pids; do
  while [ $tries -gt 0 ] && kill -0 "$pid" 2>/dev/null; do tries=$((tries - 1)); sleep 0.1; done
done
rm -rf "$0"`;

/** Keeps `home`; the returned function does at once what would be done at the end of this process. */
export function keep(home: string): () => Promise<void> {
  const keeper = spawn("/bin/sh", ["-c", SCRIPT, home], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
  keeper.unref();
  (keeper.stdin as unknown as { unref(): void }).unref();
  return async () => {
    const ended = once(keeper, "exit");
    keeper.ref();
    keeper.stdin.end();
    await ended;
  };
}
