/** Where the daemon is, and the token for it. */

import { createHash } from "node:crypto";
import { readFile, realpath } from "node:fs/promises";
import { userInfo } from "node:os";
import { join } from "node:path";

export interface Place {
  /** `ws://127.0.0.1:40123/v1/rpc`, or `ws+unix:/run/user/1000/nexus/daemon-….sock:/v1/rpc`. */
  readonly url: string;
  readonly token: string;
}

/** `DAEMON_URL` and `DAEMON_TOKEN` say it; otherwise the daemon of the repository does, in a file that only its user can read. */
export async function findDaemon(repository: string, env: NodeJS.ProcessEnv = process.env): Promise<Place> {
  const { DAEMON_URL: url, DAEMON_TOKEN: token } = env;
  if (url && token) return { url, token };
  const name = createHash("sha256").update(await realpath(repository)).digest("hex").slice(0, 16);
  const folder = env["XDG_RUNTIME_DIR"] ? join(env["XDG_RUNTIME_DIR"], "nexus") : `/tmp/nexus-${userInfo().uid}`;
  const file = join(folder, `daemon-${name}.json`);
  const text = await readFile(file, "utf8").catch(() => {
    throw new Error(`no daemon serves ${repository}: run 'boulder daemon start' there, or set DAEMON_URL and DAEMON_TOKEN`);
  });
  const found = JSON.parse(text) as { socket: string; token: string };
  return { url: `ws+unix:${found.socket}:/v1/rpc`, token: found.token };
}
