/** Binary messages: sixteen bytes of header, then what the stream carries. Pure. */

export const CONNECTION = 0;
const HEADER = 16;

export enum Kind {
  Data = 1,
  End = 2,
  Window = 3,
  Reset = 4,
}

export enum Flag {
  None = 0,
  Failed = 1,
  Skip = 2,
}

export interface Frame {
  readonly kind: Kind;
  readonly flags: number;
  readonly stream: number;
  /** Counts from the first byte of the channel; below 2^53, so that a number holds it. */
  readonly offset: number;
  readonly payload: Uint8Array;
}

const NOTHING = new Uint8Array();

export function encode(kind: Kind, stream: number, offset: number, payload: Uint8Array = NOTHING): Uint8Array {
  const message = Buffer.alloc(HEADER + payload.length);
  message.writeUInt8(kind, 0);
  message.writeUInt32BE(stream, 4);
  message.writeBigUInt64BE(BigInt(offset), 8);
  message.set(payload, HEADER);
  return message;
}

export function decode(message: Buffer): Frame {
  if (message.length < HEADER) throw new Error(`a binary message of ${message.length} bytes is shorter than its header`);
  return {
    kind: message.readUInt8(0),
    flags: message.readUInt8(1),
    stream: message.readUInt32BE(4),
    offset: Number(message.readBigUInt64BE(8)),
    payload: message.subarray(HEADER),
  };
}
