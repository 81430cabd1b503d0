// The page: which workspace is looked at, and who is told when something changes.

import { byId, inWords, offer } from "./dom.js";
import { Line } from "./line.js";
import { LogView } from "./log.js";
import { PortTable } from "./ports.js";
import { Tabs } from "./tabs.js";
import { TerminalView } from "./terminal.js";
import * as tokens from "./token.js";
import { WorkspaceList, all, showActions, shownName } from "./workspaces.js";

const url = new URL("v1/rpc", location.href.split("#")[0]);
url.protocol = url.protocol.replace("http", "ws");

const line = new Line(url, { open: opened, lost, refused });
const state = { infos: [], chosen: null, busy: new Set(), asking: false, again: false };
const list = new WorkspaceList(choose);
const ports = new PortTable(line);
const log = new LogView(line);
const terminal = new TerminalView(line, byId("screen"), {
  title: (text) => (byId("terminal-title").textContent = text),
  role: (role) => (byId("terminal-take").hidden = role !== "viewer"),
  message: say,
  ended: () => say("The terminal's program has ended."),
  leave: () => tabs.shown.focus(),
});
const tabs = new Tabs(document.querySelector('[role="tablist"]'), () => look());

const chosen = () => state.infos.find((info) => info.id === state.chosen) ?? null;

// The connection ------------------------------------------------------------------------------------------------------

async function opened(connection, resumed) {
  byId("line").textContent = "Connected";
  byId("line").className = "";
  byId("entry").hidden = true;
  byId("desk").hidden = false;
  terminal.listen(connection);
  connection.on("workspace.event", ({ event }) => happened(event));
  try {
    await connection.call("events.subscribe", {});
    const { repository } = await connection.call("daemon.info");
    Object.assign(byId("repository"), { textContent: repository.split("/").at(-1), title: repository });
    await Promise.all([refresh(), terminal.resume(connection, resumed), log.resume(connection, resumed)]);
  } catch (error) {
    say(inWords(error), true);
  }
}

function lost() {
  byId("line").textContent = "Connection lost; trying again …";
  byId("line").className = "lost";
}

function refused() {
  tokens.forget();
  ask("The token does not hold, or no longer.");
}

function ask(why) {
  byId("line").textContent = "Not connected";
  byId("entry-why").textContent = why;
  byId("desk").hidden = true;
  byId("entry").hidden = false;
  byId("entry-token").focus();
}

// What there is -------------------------------------------------------------------------------------------------------

/** Ask for the list again; while an answer is on its way, once more after it. */
async function refresh() {
  if (state.asking) {
    state.again = true;
    return;
  }
  state.asking = true;
  try {
    do {
      state.again = false;
      state.infos = await all(line);
    } while (state.again);
  } finally {
    state.asking = false;
  }
  if (!chosen()) state.chosen = (state.infos.find((info) => info.current) ?? state.infos[0])?.id ?? null;
  paint();
  look();
}

function happened(event) {
  if (event.kind === "progress") {
    if (event.workspace === state.chosen) say(`${event.step}: ${event.message}`);
    return;
  }
  if (event.kind === "hook_output") return; // the log of a script, which changes nothing in the list
  refresh().catch((error) => say(inWords(error), true));
}

function choose(id) {
  if (id !== state.chosen) {
    say("");
    terminal.leave();
    log.leave();
  }
  state.chosen = id;
  paint();
  look();
}

function paint() {
  list.show(state.infos, state.chosen);
  const info = chosen();
  byId("workspace").hidden = !info;
  if (!info) return;
  document.title = `${shownName(info)} · Nexus`;
  byId("name").textContent = shownName(info);
  const facts = [info.status, info.name, info.branch, info.backend, info.image, info.degraded ?? info.statusMessage];
  byId("facts").textContent = facts.filter(Boolean).join(" · ");
  byId("terminal-new").disabled = info.status !== "running" && info.status !== "paused";
  showActions(byId("actions"), info, state.busy.has(info.id), (method) => act(info, method));
}

async function act(info, method) {
  say("");
  state.busy.add(info.id);
  paint();
  try {
    await line.call(method, { workspace: info.id, idempotencyKey: newKey() });
    if (info.id === state.chosen) say("");
  } catch (error) {
    say(inWords(error), true);
  } finally {
    state.busy.delete(info.id);
  }
  await refresh().catch((error) => say(inWords(error), true));
}

/** Show what the open tab is about. */
function look() {
  const info = chosen();
  if (!info || info.damaged || !line.connection) return;
  const tab = tabs.shown.id;
  if (tab === "tab-ports") ports.show(info.id);
  if (tab === "tab-log") log.show(info);
  if (tab === "tab-terminal") showTerminals(info);
}

// Terminals -----------------------------------------------------------------------------------------------------------

async function showTerminals(info, wanted = null) {
  const select = byId("terminals");
  try {
    const { items } = await line.call("terminal.list", { workspace: info.id });
    if (info.id !== state.chosen) return;
    const pairs = items.map((one) => [one.id, one.title ? `${one.name}: ${one.title}` : one.name]);
    offer(select, pairs.length ? pairs : [["", "none"]], wanted ?? terminal.terminal ?? select.value);
    if (select.value && select.value !== terminal.terminal) await terminal.show(info.id, select.value);
    terminal.fit();
  } catch (error) {
    say(inWords(error), true);
  }
}

async function openTerminal() {
  const info = chosen();
  if (!info) return;
  byId("terminal-new").disabled = true; // until it is there: keys that are hit meanwhile open no second one
  try {
    terminal.fit();
    const made = await line.call("terminal.open", { workspace: info.id, size: terminal.size, idempotencyKey: newKey() });
    await showTerminals(info, made.id);
    terminal.focus();
  } catch (error) {
    say(inWords(error), true);
  } finally {
    paint();
  }
}

byId("terminal-new").addEventListener("click", openTerminal);
byId("terminals").addEventListener("change", ({ target }) => {
  if (target.value) terminal.show(state.chosen, target.value).then(() => terminal.focus());
});
byId("terminal-take").addEventListener("click", async () => {
  await terminal.show(state.chosen, terminal.terminal, { takeover: true });
  terminal.focus();
});
byId("terminal-spoken").addEventListener("change", ({ target }) => (terminal.spoken = target.checked));

// Small things --------------------------------------------------------------------------------------------------------

function say(text, failed = false) {
  byId("message").textContent = text;
  byId("message").className = failed ? "failed" : "";
}

/** Return what makes the daemon do something once, however often it is asked. */
function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function begin() {
  const token = tokens.take();
  if (token) line.run(token);
  else ask("");
}

byId("entry").addEventListener("submit", (event) => {
  event.preventDefault();
  const token = tokens.tokenIn(byId("entry-token").value);
  byId("entry-token").value = "";
  if (!token) return ask("That is no token.");
  tokens.keep(token);
  byId("entry").hidden = true;
  line.run(token);
});
addEventListener("hashchange", () => {
  // Another address was opened in this tab.
  if (location.hash.startsWith("#token=")) {
    tokens.take();
    location.reload();
  }
});
begin();
