/** A connection to the daemon: JSON-RPC by `vscode-jsonrpc`, as editors speak it, and the streams beside it. */

import {
  AbstractMessageReader,
  AbstractMessageWriter,
  ResponseError,
  createMessageConnection,
  type CancellationToken,
  type DataCallback,
  type Disposable,
  type Message,
  type MessageConnection,
  type MessageReader,
  type MessageWriter,
} from "vscode-jsonrpc/node";
import WebSocket, { type RawData } from "ws";

import type { Place } from "./place.js";
import type { Methods, Notices } from "./protocol.js";
import { Streams } from "./streams.js";

export type Params<M extends keyof Methods> = Methods[M]["params"];
export type Result<M extends keyof Methods> = Methods[M]["result"];

/** One text message is one JSON-RPC message. */
class SocketReader extends AbstractMessageReader implements MessageReader {
  constructor(private readonly socket: WebSocket) {
    super();
  }

  listen(callback: DataCallback): Disposable {
    const heard = (data: RawData, binary: boolean): void => {
      if (!binary) callback(JSON.parse(String(data)) as Message);
    };
    this.socket.on("message", heard);
    this.socket.on("error", (error) => this.fireError(error));
    this.socket.on("close", () => this.fireClose());
    return { dispose: () => this.socket.off("message", heard) };
  }
}

class SocketWriter extends AbstractMessageWriter implements MessageWriter {
  constructor(private readonly socket: WebSocket) {
    super();
  }

  write(message: Message): Promise<void> {
    return new Promise((resolve, reject) => {
      this.socket.send(JSON.stringify(message), (error) => (error ? reject(error) : resolve()));
    });
  }

  end(): void {
    this.socket.close();
  }
}

export class Connection {
  private constructor(
    private readonly rpc: MessageConnection,
    private readonly socket: WebSocket,
    readonly session: Result<"initialize">,
    readonly streams: Streams,
  ) {}

  static async open(place: Place): Promise<Connection> {
    const socket = new WebSocket(place.url, "nexus.v1", {
      headers: { authorization: `Bearer ${place.token}` },
      perMessageDeflate: false,
    });
    await new Promise<void>((resolve, reject) => {
      socket.once("open", resolve);
      socket.once("error", reject);
    });
    const rpc = createMessageConnection(new SocketReader(socket), new SocketWriter(socket));
    rpc.listen();
    const hello: Params<"initialize"> = {
      protocol: { min: 1, max: 1 },
      client: { name: "editor-plugin-sample", version: "0.0.0" },
    };
    const session = (await rpc.sendRequest("initialize", hello)) as Result<"initialize">;
    const streams = new Streams((message) => socket.send(message), session.limits);
    socket.on("message", (data, binary) => {
      if (binary) streams.receive(data as Buffer);
    });
    socket.on("close", (code) => streams.fail(new Error(`the connection was closed: ${code}`)));
    await rpc.sendNotification("initialized", {});
    return new Connection(rpc, socket, session, streams);
  }

  request<M extends keyof Methods>(method: M, params: Params<M>, token?: CancellationToken): Promise<Result<M>> {
    // An absent token would count as a second parameter, and both would go by position.
    return token === undefined ? this.rpc.sendRequest(method, params) : this.rpc.sendRequest(method, params, token);
  }

  on<N extends keyof Notices>(notice: N, handle: (params: Notices[N]) => void): Disposable {
    return this.rpc.onNotification(notice, handle);
  }

  async close(): Promise<void> {
    await this.request("session.close", {});
    this.rpc.dispose();
    this.socket.close();
  }
}

/** Codes are compared as text: `FS_CONTENT_MODIFIED`. */
export function codeOf(error: unknown): string | undefined {
  if (!(error instanceof ResponseError)) return undefined;
  const code: unknown = (error.data as { code?: unknown } | undefined)?.code;
  return typeof code === "string" ? code : undefined;
}
