// One look at one terminal: bytes to the screen with credit, keys back, and where it was after a cut.

import { fromBase64, inWords, webAddress } from "./dom.js";
import { Typist } from "./typist.js";
import { FitAddon } from "./vendor/addon-fit.mjs";
import { Terminal } from "./vendor/xterm.mjs";

const DARK = matchMedia("(prefers-color-scheme: dark)");
const THEMES = {
  dark: { background: "#1e2124", foreground: "#e4e6e8", cursor: "#6cc2a8", selectionBackground: "#3b4a56" },
  light: {
    background: "#ffffff", foreground: "#1d2126", cursor: "#2f6f5e", selectionBackground: "#cfe3dc",
    black: "#1d2126", red: "#b3261e", green: "#1a7f4b", yellow: "#8a5b00", blue: "#1f5fbf", magenta: "#8e3a9d", cyan: "#0f7683", white: "#6b737b",
    brightBlack: "#5c646d", brightRed: "#d13a31", brightGreen: "#24915a", brightYellow: "#a06c00", brightBlue: "#2f72d6", brightMagenta: "#a44db3",
    brightCyan: "#188795", brightWhite: "#3a4148",
  },
};

// Programs ask terminals what they are, where the cursor is, which colours there are.
const ANSWER = /^\u001b(?:\[[?>]?[\d;]*(?:\$y|[cnRtxy])|[P\]])/;

export class TerminalView {
  #line;
  #told;
  #screen;
  #fit = new FitAddon();
  #look = null;
  #wanted = 0;
  #typist = new Typist();

  /** told: {title(text), role(role), message(text), ended(), leave()}. */
  constructor(line, place, told) {
    this.#line = line;
    this.#told = told;
    this.#screen = new Terminal({
      fontFamily: 'ui-monospace, "SF Mono", Menlo, "DejaVu Sans Mono", monospace',
      fontSize: 13,
      scrollback: 5000,
      linkHandler: { activate: (_event, text) => follow(text) },
    });
    this.#screen.loadAddon(this.#fit);
    this.#screen.open(place);
    this.#paint();
    DARK.addEventListener("change", () => this.#paint());
    this.#screen.onData((text) => this.#heard(text));
    this.#screen.onBinary((text) => this.#type(Uint8Array.from(text, (character) => character.charCodeAt(0))));
    this.#screen.onResize(({ rows, cols }) => this.#resize(rows, cols));
    this.#screen.onTitleChange((title) => this.#told.title(title));
    this.#screen.attachCustomKeyEventHandler((event) => this.#key(event));
    new ResizeObserver(() => this.fit()).observe(place);
  }

  get size() {
    return { rows: this.#screen.rows, cols: this.#screen.cols, term: "xterm-256color" };
  }

  get terminal() {
    return this.#look?.terminal ?? null;
  }

  set spoken(on) {
    this.#screen.options.screenReaderMode = on;
  }

  focus() {
    this.#screen.focus();
  }

  /** Take the room that there is; who only looks on sees the size of whoever types. */
  fit() {
    if (this.#look?.role !== "viewer" && this.#screen.element?.offsetParent) this.#fit.fit();
  }

  /** Look at a terminal; takeover also when somebody else types in it. */
  async show(workspace, terminal, { takeover = false } = {}) {
    this.leave();
    this.#screen.reset();
    this.fit();
    await this.#attach(this.#line.connection, { workspace, terminal, role: "controller" }, { takeover, size: this.size });
  }

  /** Look no longer; the program runs on. */
  leave() {
    this.#wanted += 1;
    const look = this.#look;
    this.#look = null;
    this.#typist.renew();
    this.#told.title("");
    if (!look) return;
    look.connection.drop(look.stream);
    look.connection.call("terminal.detach", { workspace: look.workspace, session: look.session }).catch(() => {});
  }

  /** Go on over a new connection, from the byte that is due, and with the keys that were not answered. */
  async resume(connection, resumed) {
    const look = this.#look;
    if (!look || look.over) return;
    await this.#attach(connection, look, { since: look.offset, takeover: look.role === "controller" });
    const again = this.#look;
    if (again?.connection !== connection) return;
    if (resumed && again.role !== "viewer") this.#typist.resume(again, (error) => this.#told.message(inWords(error)));
    else if (this.#typist.renew()) this.#told.message("some keys may not have been typed: look at the screen");
  }

  async #attach(connection, { workspace, terminal, role, offset = null }, more) {
    const wanted = ++this.#wanted;
    if (!connection) return;
    try {
      const found = await connection.call("terminal.attach", { workspace, terminal, role, client: "page", ...more });
      if (wanted !== this.#wanted) {
        connection.call("terminal.detach", { workspace, session: found.session }).catch(() => {});
        return;
      }
      this.#begin({ connection, workspace, terminal, offset, ...pick(found) }, found);
    } catch (error) {
      if (wanted !== this.#wanted) return;
      // Somebody else types there: then this only looks on.
      if (error.code === "BUSY" && role !== "viewer") await this.#attach(connection, { workspace, terminal, role: "viewer", offset }, more);
      else this.#told.message(inWords(error));
    }
  }

  #begin(look, found) {
    look.newest = found.newest;
    look.replaying = found.newest > found.start;
    if (look.offset === null || found.start > look.offset) this.#screen.write(fromBase64(found.prefix));
    look.offset = found.start;
    this.#look = look;
    this.#told.role(found.role);
    this.#told.title(found.info.title);
    if (found.role === "viewer") this.#screen.resize(found.info.size.cols, found.info.size.rows);
    look.connection.receive(look.stream, found.start, {
      data: (bytes, at) => this.#print(look, bytes, at),
      skip: (to) => this.#skip(look, to),
      end: () => {},
    });
    this.fit();
  }

  /** Print, and let more come once that is on the screen. */
  #print(look, bytes, at) {
    const to = at + bytes.length;
    look.offset = to;
    this.#screen.write(bytes, () => {
      if (to >= look.newest) look.replaying = false;
      look.connection.taken(look.stream, to);
    });
  }

  #skip(look, to) {
    look.offset = to;
    this.#screen.write(look.prefix ?? "", () => {
      if (to >= look.newest) look.replaying = false;
    });
  }

  /** Listen to what the daemon says about terminals on a connection. */
  listen(connection) {
    const mine = (handle) => (params) => params.session === this.#look?.session && handle(this.#look, params);
    connection.on("terminal.didChange", mine((look, { info, role }) => {
      look.role = role;
      this.#told.role(role);
      this.#told.title(info.title);
      if (role === "viewer" && info.controller === null) this.#attach(connection, { ...look, role: "controller" }, { since: look.offset });
    }));
    connection.on("terminal.didResize", mine((look, { mark }) => {
      if (look.role === "viewer") this.#screen.write("", () => this.#screen.resize(mark.cols, mark.rows));
    }));
    connection.on("terminal.didSkip", mine((look, { prefix }) => {
      look.prefix = fromBase64(prefix);
    }));
    connection.on("terminal.didExit", mine((look, { exit }) => {
      look.over = true;
      this.#told.ended(exit);
    }));
  }

  /** Send what was typed, and what the terminal answers by itself; but not to what was asked long ago and is only shown again. */
  #heard(text) {
    if (!(this.#look?.replaying && ANSWER.test(text))) this.#type(new TextEncoder().encode(text));
  }

  #type(bytes) {
    const look = this.#look;
    if (!look || look.over || look.role === "viewer") return;
    this.#typist.type(look, bytes, (error) => this.#told.message(inWords(error)));
  }

  #resize(rows, cols) {
    const look = this.#look;
    if (!look || look.over || look.role === "viewer") return;
    look.connection.call("terminal.resize", { workspace: look.workspace, session: look.session, rows, cols }).catch(() => {});
  }

  #key(event) {
    if (event.key !== "F6") return true;
    if (event.type === "keydown") {
      event.preventDefault();
      this.#told.leave();
    }
    return false;
  }

  #paint() {
    this.#screen.options.theme = DARK.matches ? THEMES.dark : THEMES.light;
  }
}

const pick = ({ session, stream, role }) => ({ session, stream, role, over: false, prefix: null });

function follow(text) {
  const address = webAddress(text);
  if (address && confirm(`Open ${address}?`)) open(address, "_blank", "noopener,noreferrer");
}
