/** What an editor plugin does, step by step; ends with status 1 at the first surprise. */

import { strict as assert } from "node:assert";
import { createServer, type AddressInfo } from "node:net";
import { once } from "node:events";

import { CancellationTokenSource } from "vscode-jsonrpc/node";

import { Connection, codeOf } from "./connection.js";
import { findDaemon } from "./place.js";
import type { Notices } from "./protocol.js";
import { readAll } from "./streams.js";
import { Terminal } from "./terminal.js";
import { Tunnel } from "./tunnel.js";

const PATIENCE = 60_000;
const LARGE = 1_500_000;

function say(step: string, text: string): void {
  console.log(`${step.padEnd(10)} ${text}`);
}

async function terminals(connection: Connection, workspace: string): Promise<void> {
  const terminal = await Terminal.open(connection, { workspace, argv: ["sh"], name: "panel" });
  await terminal.resize(30, 100);
  await terminal.type("stty size; echo answer $((6 * 7)); exit 3\n");
  const screen = (await readAll(terminal.output)).toString();
  assert.match(screen, /30 100\r\n/);
  assert.match(screen, /answer 42\r\n/);
  const { exitCode } = await terminal.exit;
  assert.equal(exitCode, 3);
  say("terminal", `printed 'answer 42' on 30 x 100 characters, ended with ${exitCode}`);

  const noisy = await Terminal.open(connection, { workspace, argv: ["seq", "1", "100000"] });
  const lines = (await readAll(noisy.output)).toString().trimEnd().split("\r\n");
  assert.equal(noisy.output.lost, 0);
  assert.equal(lines.length, 100_000);
  assert.equal(lines.at(-1), "100000");
  say("credit", `${lines.length} lines, none lost`);

  const long = await connection.request("terminal.open", { workspace, argv: ["sleep", "600"] });
  const source = new CancellationTokenSource();
  const wait = connection.request("terminal.wait", { workspace, terminal: long.id }, source.token);
  source.cancel();
  const cancelled: unknown = await wait.catch((error: unknown) => (error as { code?: unknown }).code);
  assert.equal(cancelled, -32800);
  await connection.request("terminal.kill", { workspace, terminal: long.id });
  say("cancel", `a request that was cancelled is answered ${cancelled}`);
}

async function files(connection: Connection, workspace: string): Promise<void> {
  const seen = new Map<string, string>();
  const events: Notices["fs.didChange"]["events"][number][] = [];
  let changed = (): void => {};
  const noticed = new Promise<void>((resolve) => (changed = resolve));
  const { watch } = await connection.request("fs.watch", { workspace, path: "." });
  const listener = connection.on("fs.didChange", (told) => {
    if (told.watch !== watch) return;
    events.push(...told.events);
    for (const { path, kind } of told.events) seen.set(path, kind);
    if (seen.has("notes.txt")) changed();
  });

  const path = "notes.txt";
  const first = await connection.request("fs.writeFile", { workspace, path, text: "one\n", ifMatch: "absent" });
  await noticed;
  say("watch", `${events[0]?.kind} ${events[0]?.path}`);

  const second = await connection.request("fs.edit", {
    workspace,
    path,
    edits: [{ old: "one", new: "one, edited" }],
    ifMatch: first.etag,
  });
  assert.notEqual(second.stat.etag, first.etag);
  const { text } = await connection.request("fs.readFile", { workspace, path });
  assert.equal(text, "one, edited\n");
  say("edit", JSON.stringify(text));

  const stale = connection.request("fs.writeFile", { workspace, path, text: "too late\n", ifMatch: first.etag });
  const code = await stale.then(() => "nothing", codeOf);
  assert.equal(code, "FS_CONTENT_MODIFIED");
  assert.equal((await connection.request("fs.readFile", { workspace, path })).text, "one, edited\n");
  say("conflict", `${code}: what somebody else wrote stays`);

  listener.dispose();
  await connection.request("fs.unwatch", { workspace, watch });
}

/** Sends a large file as a stream: the daemon's credit decides how fast. */
async function upload(connection: Connection, workspace: string, path: string, content: Uint8Array): Promise<void> {
  const { upload: id, stream } = await connection.request("fs.openWrite", { workspace, path });
  const sending = connection.streams.begin(stream);
  await sending.write(content);
  sending.end();
  const stat = await connection.request("fs.commit", { workspace, upload: id, size: content.length });
  assert.equal(stat.size, content.length);
}

async function ports(connection: Connection, workspace: string): Promise<void> {
  const content = Buffer.from(Array.from({ length: LARGE }, (_, at) => (at * at) % 251));
  await upload(connection, workspace, "large.bin", content);

  const port = await freePort();
  const argv: [string, ...string[]] = ["python3", "-m", "http.server", "--bind", "127.0.0.1", String(port)];
  await connection.request("exec.start", { workspace, argv, policy: "drop" });
  await connection.request("ports.wait", { workspace, port });
  const tunnel = await Tunnel.open(connection, workspace, port);
  try {
    const notes = await fetch(`http://127.0.0.1:${tunnel.port}/notes.txt`);
    assert.equal(await notes.text(), "one, edited\n");
    const large = await fetch(`http://127.0.0.1:${tunnel.port}/large.bin`);
    assert.ok(content.equals(Buffer.from(await large.arrayBuffer())), "a large file comes as it was sent");
    say("port", `${large.status} for ${content.length} bytes through the daemon's socket`);
  } finally {
    tunnel.close();
  }
}

/** A server inside has its own ports in a container; with local processes they are those of this machine. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

async function main(): Promise<void> {
  const connection = await Connection.open(await findDaemon(process.argv[2] ?? "."));
  const { server, protocol } = connection.session;
  say("connected", `${server.name} ${server.version}, protocol ${protocol}`);
  const created = await connection.request("workspace.create", { spec: { name: "editor-plugin" } });
  const workspace = created.id;
  try {
    const { items } = await connection.request("workspace.list", {});
    say("workspaces", items.map(({ name }) => name).join(" "));
    await terminals(connection, workspace);
    await files(connection, workspace);
    await ports(connection, workspace);
  } finally {
    await connection.request("workspace.destroy", { workspace, force: true });
  }
  await connection.close();
  say("done", "as expected");
}

const late = setTimeout(() => {
  console.error(`not done after ${PATIENCE / 1000} s`);
  process.exit(1);
}, PATIENCE);
main().then(
  () => clearTimeout(late),
  (error: unknown) => {
    console.error(error);
    process.exit(1);
  },
);
