// A connection that is made again when it is lost, until the token no longer holds.

import { Connection } from "./rpc.js";

const FIRST_WAIT = 250;
const LONGEST_WAIT = 10_000;
const NO_TOKEN = 4001;
const TRIES = 2; // a daemon that just starts again may be well a moment after it was not there

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

export class Line {
  connection = null;
  #session = null;
  #url;

  /** told: {open(connection, resumed), lost(), refused()}, each called as it happens. */
  constructor(url, told) {
    this.#url = url;
    this.told = told;
  }

  /** Keep a connection until the token is refused. */
  async run(token) {
    let wait = FIRST_WAIT;
    let refusals = 0;
    while (refusals < TRIES) {
      const code = await this.#once(token, () => {
        wait = FIRST_WAIT;
        refusals = 0;
      });
      this.connection = null;
      if (code === NO_TOKEN) break;
      this.told.lost();
      refusals = code === null && (await isWell()) ? refusals + 1 : 0;
      await sleep(wait * (0.75 + Math.random() / 2));
      wait = Math.min(wait * 2, LONGEST_WAIT);
    }
    this.#session = null;
    this.told.refused();
  }

  /** Ask the daemon; fails at once while there is no connection. */
  call(method, params) {
    return this.connection ? this.connection.call(method, params) : Promise.reject(new Error("not connected"));
  }

  /** Return the code that a connection was closed with; null when there was none. */
  async #once(token, opened) {
    let connection;
    try {
      connection = await Connection.open(this.#url, token, this.#session);
    } catch {
      return null; // why is not told to pages
    }
    const { sessionId, resumeToken, resumed } = connection.session;
    this.#session = { sessionId, resumeToken };
    this.connection = connection;
    opened();
    this.told.open(connection, resumed);
    return await connection.closed;
  }
}

async function isWell() {
  try {
    return (await fetch("healthz")).ok;
  } catch {
    return false;
  }
}
