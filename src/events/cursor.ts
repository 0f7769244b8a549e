/** A place in the stream: after the event of that number, of one life of berthd. */
export interface Cursor {
  /** 8 hexadecimal digits. */
  readonly epoch: string;
  readonly sequence: number;
}

export function writeCursor({ epoch, sequence }: Cursor): string {
  return `${epoch}-${sequence}`;
}

/** Undefined for what no berthd has written. */
export function readCursor(text: string): Cursor | undefined {
  const [, epoch, digits] = /^([0-9a-f]{8})-(\d{1,15})$/.exec(text) ?? [];
  return epoch === undefined ? undefined : { epoch, sequence: Number(digits) };
}
