// One connection to the daemon: JSON-RPC in text messages, streams in binary ones.

import { toBase64 } from "./dom.js";
import { Credit, Kind, decode, windowFrame } from "./frames.js";

export class RpcError extends Error {
  constructor(fault) {
    super(fault.message);
    this.code = fault.data?.code ?? String(fault.code);
    this.hint = fault.data?.hint ?? "";
  }
}

const LOST = { code: "CONNECTION_LOST", message: "the connection is lost" };

export class Connection {
  #socket;
  #asked = new Map();
  #listeners = new Map();
  #streams = new Map();
  #last = 0;
  #arrived = 0;
  #credit = null;

  /** Connect and greet; resume is {sessionId, resumeToken} of a session to go on with. */
  static async open(url, token, resume) {
    const bearer = toBase64(new TextEncoder().encode(token), { forAddress: true });
    const connection = new Connection(new WebSocket(url, ["nexus.v1", `nexus.bearer.${bearer}`]));
    await connection.#opened;
    connection.session = await connection.call("initialize", {
      protocol: { min: 1, max: 1 },
      client: { name: "nexus-page", version: "1" },
      ...(resume && { resume }),
    });
    connection.#credit = new Credit(connection.session.limits.connectionWindow);
    connection.#send({ jsonrpc: "2.0", method: "initialized", params: {} });
    return connection;
  }

  #opened;

  constructor(socket) {
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => (typeof data === "string" ? this.#heard(JSON.parse(data)) : this.#came(decode(data)));
    this.#opened = new Promise((resolve, reject) => {
      socket.onopen = resolve;
      socket.addEventListener("close", () => reject(new RpcError(LOST)));
    });
    /** Becomes the code that the connection was closed with. */
    this.closed = new Promise((resolve) => socket.addEventListener("close", ({ code }) => resolve(code)));
    this.closed.then(() => {
      for (const { reject } of this.#asked.values()) reject(new RpcError(LOST));
      this.#asked.clear();
    });
  }

  close() {
    this.#socket.close();
  }

  /** Ask, and return the result. What follows on an await of it runs before any later message is looked at. */
  call(method, params = {}) {
    if (this.#socket.readyState !== WebSocket.OPEN) return Promise.reject(new RpcError(LOST));
    const id = ++this.#last;
    this.#send({ jsonrpc: "2.0", id, method, params });
    return new Promise((resolve, reject) => this.#asked.set(id, { resolve, reject }));
  }

  /** Have a function called with the parameters of a notification. */
  on(method, listener) {
    this.#listeners.set(method, [...(this.#listeners.get(method) ?? []), listener]);
  }

  /** Take a stream from an offset on: sink.data(bytes, offset), .skip(to), .end(failed). */
  receive(stream, at, sink) {
    this.#streams.set(stream, { sink, at, credit: new Credit(this.session.limits.streamWindow, at) });
  }

  /** Take note that everything of a stream before the offset was worked off, so that more may come. */
  taken(stream, offset) {
    const known = this.#streams.get(stream);
    if (known?.credit.due(offset)) this.#send(windowFrame(stream, offset));
  }

  /** Let go of a stream; what still comes of it is dropped. */
  drop(stream) {
    this.#streams.delete(stream);
  }

  #send(message) {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    this.#socket.send(message instanceof ArrayBuffer ? message : JSON.stringify(message));
  }

  #heard(message) {
    if (message.method !== undefined) {
      for (const listener of this.#listeners.get(message.method) ?? []) listener(message.params ?? {});
      return;
    }
    const asked = this.#asked.get(message.id);
    this.#asked.delete(message.id);
    if (message.error) asked?.reject(new RpcError(message.error));
    else asked?.resolve(message.result);
  }

  #came(frame) {
    this.#arrived += frame.payload.length;
    if (this.#credit?.due(this.#arrived)) this.#send(windowFrame(0, this.#arrived));
    const known = this.#streams.get(frame.stream);
    if (!known) return;
    if (frame.kind === Kind.DATA && frame.skip) {
      known.at = frame.offset;
      known.sink.skip(frame.offset);
    } else if (frame.kind === Kind.DATA) {
      const fresh = frame.payload.subarray(Math.max(0, known.at - frame.offset)); // sent twice after a cut
      const offset = known.at;
      known.at += fresh.length;
      if (fresh.length) known.sink.data(fresh, offset);
    } else if (frame.kind === Kind.END || frame.kind === Kind.RESET) {
      this.#streams.delete(frame.stream);
      known.sink.end(frame.kind === Kind.RESET || frame.failed);
    }
  }
}
