/**
 * Stops a test's servers when its process is gone, however it went: by itself, by an exception, by SIGKILL.
 *
 * The keeper is a shell (shellAtEnd.ts). It stops every server that has a data directory in the home, even one that a
 * test held still to kill it, and removes the home. A pid is believed only if its process works in the data directory that names it.
 */
import { shellAtEnd } from "./shellAtEnd.ts";

const SCRIPT = `
serves() { [ ! -d /proc/self ] || [ "$(readlink "/proc/$1/cwd")" = "$(cd "$2" && pwd -P)" ]; }
each() {
  for file in "$0"/*/postmaster.pid; do
    [ -f "$file" ] && read -r pid <"$file" && serves "$pid" "\${file%/*}" && kill -0 "$pid" && "$@"
  done
}
stop() { kill -QUIT "$pid"; kill -CONT "$pid"; }
wait_for() { while [ $tries -gt 0 ] && kill -0 "$pid"; do tries=$((tries - 1)); sleep 0.1; done; }
end() { kill -KILL "$pid"; }
tries=50
each stop
each wait_for
each end
rm -rf "$0"`;

/** Keeps `home`; the returned function does at once what would be done at the end of this process. */
export const keep = (home: string): (() => Promise<void>) => shellAtEnd(SCRIPT, home);
