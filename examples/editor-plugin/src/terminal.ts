/** A terminal of a workspace, as an editor's panel needs it. */

import type { Connection, Params, Result } from "./connection.js";
import type { Notices } from "./protocol.js";
import type { ByteStream } from "./streams.js";

type Exit = Notices["terminal.didExit"]["exit"];

export class Terminal {
  /** Settles when its program has ended and everything that it printed was sent. */
  readonly exit: Promise<Exit>;

  private constructor(
    private readonly connection: Connection,
    private readonly workspace: string,
    private readonly look: Result<"terminal.attach">,
    readonly output: ByteStream,
  ) {
    this.exit = new Promise((resolve) => {
      const listener = connection.on("terminal.didExit", ({ session, exit }) => {
        if (session !== look.session) return;
        listener.dispose();
        resolve(exit);
      });
    });
  }

  static async open(connection: Connection, params: Params<"terminal.open">): Promise<Terminal> {
    const { workspace } = params;
    const { id } = await connection.request("terminal.open", params);
    const look = await connection.request("terminal.attach", { workspace, terminal: id, replay: "all" });
    return new Terminal(connection, workspace, look, connection.streams.begin(look.stream, look.start));
  }

  get id(): string {
    return this.look.info.id;
  }

  async type(text: string): Promise<void> {
    const data = Buffer.from(text).toString("base64");
    await this.connection.request("terminal.input", { workspace: this.workspace, session: this.look.session, data });
  }

  async resize(rows: number, cols: number): Promise<void> {
    await this.connection.request("terminal.resize", { workspace: this.workspace, session: this.look.session, rows, cols });
  }
}
