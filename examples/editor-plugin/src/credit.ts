/** How far each end may send. Pure. */

/** What may be sent on a stream, or on the connection as a whole. */
export class SendCredit {
  sent = 0;
  private granted: number;

  constructor(private readonly window: number) {
    this.granted = window;
  }

  get room(): number {
    return this.granted - this.sent;
  }

  /** The other end has taken everything before `offset`: one window more may follow. */
  grant(offset: number): void {
    this.granted = Math.max(this.granted, offset + this.window);
  }
}

/** What has come, and what the other end was told of it. */
export class ReceiveCredit {
  private announced: number;

  constructor(
    private readonly window: number,
    public received = 0,
  ) {
    this.announced = received;
  }

  /** Returns what to tell the other end, once half a window was taken, so that few messages are spent on it. */
  take(offset: number): number | undefined {
    if (offset - this.announced < this.window / 2) return undefined;
    this.announced = offset;
    return offset;
  }
}
