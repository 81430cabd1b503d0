// Keys for one terminal: each is typed once, wherever the connection is cut under it.

import { toBase64 } from "./dom.js";

const MOST_KEPT = 64 * 1024;

export class Typist {
  #id;
  #length;
  #kept;

  constructor() {
    this.renew();
  }

  /** Type; told(error) when keys were not typed, or nobody can say. */
  type(look, bytes, told) {
    const waiting = this.#kept.reduce((sum, piece) => sum + piece.bytes.length, 0);
    if (waiting + bytes.length > MOST_KEPT) {
      told(new Error("too many keys wait for the connection"));
      return;
    }
    const piece = { offset: this.#length, bytes };
    this.#length += bytes.length;
    this.#kept.push(piece);
    this.#send(look, piece, told);
  }

  /** Send again, over another look in the same session, what was not answered. */
  resume(look, told) {
    for (const piece of this.#kept) this.#send(look, piece, told);
  }

  /** Begin anew, as when another session knows nothing of these keys; returns whether some were not answered. */
  renew() {
    const some = this.#kept?.length > 0;
    this.#id = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
    this.#length = 0;
    this.#kept = [];
    return some;
  }

  #send({ connection, workspace, session }, { offset, bytes }, told) {
    const typist = this.#id;
    const params = { workspace, session, typist, offset, data: toBase64(bytes) };
    connection.call("terminal.input", params).then(
      () => {
        if (typist === this.#id) this.#kept = this.#kept.filter((piece) => piece.offset !== offset);
      },
      (error) => {
        if (typist !== this.#id || error.code === "CONNECTION_LOST") return; // it is sent again
        this.renew();
        told(error);
      },
    );
  }
}
