/**
 * Ends what a run started if the run itself is killed: a shell that waits for the end of a pipe, as the keeper of the
 * shards does. It ends every process that works in the run's directory, twice, for one that was just being started;
 * where there is no /proc, those that pid files name.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";

const SCRIPT = `
cat >/dev/null
end_all() {
  if [ -d /proc/self ]; then
    for process in /proc/[0-9]*; do
      [ "$(readlink "$process/cwd" 2>/dev/null)" = "$0" ] && kill -KILL "\${process#/proc/}"
    done
  else
    for file in "$0"/*.pid; do [ -f "$file" ] && kill -KILL "$(cat "$file")"; done
  fi
}
end_all
[ -f "$0/mounts" ] && while read -r directory; do umount -l "$directory"; done <"$0/mounts"
sleep 1
end_all
exit 0`;

/**
 * Guards `home`; the returned function lets it go, when nothing of the run is left. Node must not exit before that is done: it
 * would wait for ever for a pipe that is being shut down and that nothing else keeps it alive for.
 */
export function guard(home: string): () => Promise<void> {
  const shell = spawn("/bin/sh", ["-c", SCRIPT, home], {
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
