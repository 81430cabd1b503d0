/** A port inside a workspace, reachable on this machine: each connection to it is a stream of the daemon's socket. */

import { once } from "node:events";
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { pipeline } from "node:stream/promises";

import type { Connection } from "./connection.js";
import type { ByteStream } from "./streams.js";

export class Tunnel {
  private constructor(
    private readonly server: Server,
    readonly port: number,
  ) {}

  static async open(connection: Connection, workspace: string, port: number): Promise<Tunnel> {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on("error", () => socket.destroy());
      connection
        .request("ports.connect", { workspace, port })
        .then(({ stream }) => carry(socket, connection.streams.begin(stream)))
        .catch(() => socket.destroy());
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return new Tunnel(server, (server.address() as AddressInfo).port);
  }

  close(): void {
    this.server.close();
  }
}

/** Carries bytes both ways; each end is told when the other one sends nothing more. */
async function carry(socket: Socket, stream: ByteStream): Promise<void> {
  socket.once("close", () => stream.reset());
  if (socket.destroyed) stream.reset();
  await Promise.all([inwards(socket, stream), pipeline(stream, socket)]);
}

async function inwards(socket: Socket, stream: ByteStream): Promise<void> {
  for await (const data of socket.iterator({ destroyOnReturn: false })) await stream.write(data as Buffer);
  stream.end();
}
