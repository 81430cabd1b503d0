// Binary messages and credit: docs/reference/protocol.md, "Streams".

export const Kind = { DATA: 1, END: 2, WINDOW: 3, RESET: 4 };
const FAILED = 1;
const SKIP = 2;
const HEADER = 16;

/** Return the WINDOW that says that everything before the offset was taken. */
export function windowFrame(stream, offset) {
  const view = new DataView(new ArrayBuffer(HEADER));
  view.setUint8(0, Kind.WINDOW);
  view.setUint32(4, stream);
  view.setBigUint64(8, BigInt(offset));
  return view.buffer;
}

/** Return what a binary message says. */
export function decode(buffer) {
  const view = new DataView(buffer);
  const flags = view.getUint8(1);
  return {
    kind: view.getUint8(0),
    failed: (flags & FAILED) !== 0,
    skip: (flags & SKIP) !== 0,
    stream: view.getUint32(4),
    offset: Number(view.getBigUint64(8)),
    payload: new Uint8Array(buffer, HEADER),
  };
}

/** How far a stream was taken, and when the sender has to be told: when half of its window is used. */
export class Credit {
  constructor(size, at = 0) {
    this.half = size / 2;
    this.said = at;
  }

  /** Return whether to say that everything before the offset was taken. */
  due(offset) {
    if (offset - this.said < this.half) return false;
    this.said = offset;
    return true;
  }
}
