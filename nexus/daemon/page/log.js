// A log, followed: the last lines, and everything that comes. It is text, whatever it holds.

import { byId, el, inWords, offer } from "./dom.js";

const LINES_BEFORE = 200;
const MOST_PIECES = 2000;
// Colours and movements of a terminal, which a log has no use for.
const ESCAPES = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[@-Z\\-_])|[\u0000-\u0008\u000b-\u001f\u007f]/g;

export class LogView {
  #line;
  #place = byId("log");
  #state = byId("log-state");
  #service = byId("log-service");
  #workspace = null;
  #followed = null;

  constructor(line) {
    this.#line = line;
    this.#service.addEventListener("change", () => this.#begin());
  }

  /** Follow the log of a workspace; the one that is followed already goes on. */
  async show(info) {
    offer(this.#service, [["", "the workspace"], ...info.services.map(({ name }) => [name, name])]);
    if (this.#workspace === info.id && this.#followed) return;
    this.#workspace = info.id;
    await this.#begin();
  }

  /** Follow nothing. */
  leave() {
    const followed = this.#followed;
    this.#workspace = this.#followed = null;
    if (!followed) return;
    followed.connection.drop(followed.stream);
    followed.connection.call("stream.close", { feed: followed.feed }).catch(() => {});
  }

  /** Go on over a new connection: where it was, or from the last lines where the daemon does not know it any more. */
  async resume(connection, resumed) {
    const followed = this.#followed;
    if (!followed) return;
    try {
      if (!resumed) throw new Error("another session");
      const { stream } = await connection.call("stream.attach", { feed: followed.feed, offset: followed.offset });
      this.#receive(connection, { ...followed, connection, stream }, followed.offset);
    } catch {
      this.#followed = null;
      await this.#begin();
    }
  }

  async #begin() {
    const workspace = this.#workspace;
    if (workspace === null) return;
    this.leave();
    this.#workspace = workspace;
    this.#place.replaceChildren();
    const { connection } = this.#line;
    try {
      const params = { workspace, service: this.#service.value || null, follow: true, tail: LINES_BEFORE };
      const { feed, stream } = await this.#line.call("workspace.logs", params);
      this.#receive(connection, { feed, stream, connection, offset: 0, decoder: new TextDecoder() }, 0);
    } catch (error) {
      this.#state.textContent = inWords(error);
    }
  }

  #receive(connection, followed, at) {
    if (this.#followed) this.#followed.connection.drop(this.#followed.stream);
    this.#followed = followed;
    this.#state.textContent = "following";
    connection.receive(followed.stream, at, {
      data: (bytes, offset) => {
        this.#append(followed.decoder.decode(bytes, { stream: true }));
        followed.offset = offset + bytes.length;
        connection.taken(followed.stream, followed.offset);
      },
      skip: (to) => {
        this.#append("\n… some of it is lost …\n");
        followed.offset = to;
      },
      end: (failed) => {
        if (this.#followed === followed) this.#followed = null;
        this.#state.textContent = failed ? "it cannot be followed any further" : "it has ended";
      },
    });
  }

  #append(text) {
    const place = this.#place;
    const atEnd = place.scrollHeight - place.scrollTop - place.clientHeight < 24;
    place.append(el("span", {}, text.replaceAll("\r\n", "\n").replace(ESCAPES, "")));
    while (place.childElementCount > MOST_PIECES) place.firstElementChild.remove();
    if (atEnd) place.scrollTop = place.scrollHeight;
  }
}
