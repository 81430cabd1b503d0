/** The streams of one connection: bytes both ways, never more than the other end has granted. */

import { ReceiveCredit, SendCredit } from "./credit.js";
import { CONNECTION, Flag, Kind, decode, encode, type Frame } from "./frames.js";

export interface StreamLimits {
  readonly streamWindow: number;
  readonly connectionWindow: number;
  readonly dataFrame: number;
}

/** Wakes whoever waits for something to be different. */
class Bell {
  private waiting: (() => void)[] = [];

  wait(): Promise<void> {
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  ring(): void {
    const waiting = this.waiting;
    this.waiting = [];
    for (const resolve of waiting) resolve();
  }
}

export class Streams {
  readonly all: SendCredit;
  private readonly arrived: ReceiveCredit;
  private readonly open = new Map<number, ByteStream>();
  private readonly over = new Set<number>();
  private readonly early = new Map<number, Frame[]>();

  constructor(
    readonly send: (message: Uint8Array) => void,
    readonly limits: StreamLimits,
  ) {
    this.all = new SendCredit(limits.connectionWindow);
    this.arrived = new ReceiveCredit(limits.connectionWindow);
  }

  /** Begins with a stream that a result has named; `at` is the offset that the result says it begins at. */
  begin(id: number, at = 0): ByteStream {
    const stream = new ByteStream(id, at, this);
    this.open.set(id, stream);
    const early = this.early.get(id) ?? [];
    this.early.delete(id);
    for (const frame of early) stream.receive(frame);
    return stream;
  }

  forget(id: number): void {
    this.open.delete(id);
    this.over.add(id);
  }

  receive(message: Buffer): void {
    const frame = decode(message);
    if (frame.kind === Kind.Data) this.count(frame.payload.length);
    if (frame.stream === CONNECTION) {
      this.all.grant(frame.offset);
      for (const stream of this.open.values()) stream.bell.ring();
      return;
    }
    const stream = this.open.get(frame.stream);
    if (stream !== undefined) stream.receive(frame);
    else if (!this.over.has(frame.stream)) this.keep(frame);
  }

  fail(error: Error): void {
    for (const stream of [...this.open.values()]) stream.fail(error);
  }

  /** The JSON-RPC library hands out answers a little later than they come: the first bytes may be here before the result. */
  private keep(frame: Frame): void {
    const frames = this.early.get(frame.stream);
    if (frames === undefined) this.early.set(frame.stream, [frame]);
    else frames.push(frame);
  }

  /** For the connection as a whole, arrived is taken. */
  private count(size: number): void {
    this.arrived.received += size;
    const taken = this.arrived.take(this.arrived.received);
    if (taken !== undefined) this.send(encode(Kind.Window, CONNECTION, taken));
  }
}

/** Iterate over it for what comes; a reader that is slow makes the other end wait. */
export class ByteStream {
  readonly bell = new Bell();
  /** Bytes that the daemon had to leave out. */
  lost = 0;
  private readonly incoming: ReceiveCredit;
  private readonly outgoing: SendCredit;
  private readonly chunks: { readonly end: number; readonly data: Uint8Array }[] = [];
  private error: Error | undefined;
  private ended = false;
  private closed = false;

  constructor(
    readonly id: number,
    at: number,
    private readonly streams: Streams,
  ) {
    this.incoming = new ReceiveCredit(streams.limits.streamWindow, at);
    this.outgoing = new SendCredit(streams.limits.streamWindow);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, void> {
    for (;;) {
      for (let chunk = this.chunks.shift(); chunk !== undefined; chunk = this.chunks.shift()) {
        yield chunk.data;
        const taken = this.incoming.take(chunk.end);
        if (taken !== undefined && !this.ended) this.streams.send(encode(Kind.Window, this.id, taken));
      }
      if (this.error !== undefined) throw this.error;
      if (this.ended) return;
      await this.bell.wait();
    }
  }

  /** Resolves when everything was sent; what the other end has no room for waits. */
  async write(data: Uint8Array): Promise<void> {
    for (let rest = data; rest.length > 0; ) {
      if (this.error !== undefined) throw this.error;
      if (this.closed) throw new Error("this end of the stream is closed");
      const room = Math.min(this.outgoing.room, this.streams.all.room, this.streams.limits.dataFrame, rest.length);
      if (room <= 0) {
        await this.bell.wait();
        continue;
      }
      this.streams.send(encode(Kind.Data, this.id, this.outgoing.sent, rest.subarray(0, room)));
      this.outgoing.sent += room;
      this.streams.all.sent += room;
      rest = rest.subarray(room);
    }
  }

  /** Nothing more is sent from here; the other direction goes on. */
  end(): void {
    if (this.closed || this.error !== undefined) return;
    this.closed = true;
    this.streams.send(encode(Kind.End, this.id, this.outgoing.sent));
    this.settle();
  }

  /** Gives both directions up. */
  reset(code = "CLOSED"): void {
    if (this.error !== undefined || (this.ended && this.closed)) return;
    this.streams.send(encode(Kind.Reset, this.id, 0, Buffer.from(code)));
    this.fail(new Error(`stream ${this.id} was given up here`));
  }

  fail(error: Error): void {
    this.error ??= error;
    this.streams.forget(this.id);
    this.bell.ring();
  }

  receive(frame: Frame): void {
    switch (frame.kind) {
      case Kind.Data:
        this.came(frame);
        break;
      case Kind.End:
        this.ended = true;
        if (frame.flags & Flag.Failed) this.error ??= new Error(`stream ${this.id} failed`);
        if (frame.offset !== this.incoming.received) {
          this.error ??= new Error(`stream ${this.id} ends at ${frame.offset}; ${this.incoming.received} have come`);
        }
        this.settle();
        break;
      case Kind.Window:
        this.outgoing.grant(frame.offset);
        break;
      case Kind.Reset:
        this.fail(new Error(`stream ${this.id} was given up: ${Buffer.from(frame.payload).toString()}`));
        break;
    }
    this.bell.ring();
  }

  private came(frame: Frame): void {
    const expected = this.incoming.received;
    if (frame.flags & Flag.Skip) {
      this.lost += Math.max(0, frame.offset - expected);
      this.incoming.received = Math.max(expected, frame.offset);
    } else if (frame.offset > expected) {
      this.fail(new Error(`bytes ${expected} to ${frame.offset} of stream ${this.id} are missing`));
    } else {
      const data = frame.payload.subarray(expected - frame.offset);
      this.incoming.received += data.length;
      if (data.length > 0) this.chunks.push({ end: this.incoming.received, data });
    }
  }

  private settle(): void {
    if (this.ended && this.closed) this.streams.forget(this.id);
  }
}

export async function readAll(stream: ByteStream): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}
