/**
 * Ends what a run started if the run itself is killed: a shell that waits for the end of a pipe, as the keeper of the
 * shards does. A pid is believed only if its process works in the run's directory.
 */
import { spawn } from "node:child_process";

const SCRIPT = `
cat >/dev/null
for file in "$0"/*.pid; do
  [ -f "$file" ] && pid=$(cat "$file") && [ "$(readlink "/proc/$pid/cwd")" = "$0" ] && kill -KILL "$pid"
done
[ -f "$0/mounts" ] && while read -r directory; do umount -l "$directory" 2>/dev/null; done <"$0/mounts"
exit 0`;

/** Guards `home`; the returned function lets it go, when nothing of the run is left. */
export function guard(home: string): () => void {
  const shell = spawn("/bin/sh", ["-c", SCRIPT, home], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
  shell.unref();
  const pipe = shell.stdin as unknown as { unref(): void; end(): void };
  pipe.unref();
  return () => pipe.end();
}
