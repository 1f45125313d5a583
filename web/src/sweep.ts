/** A sweep's server-sent events, as calls. */

import type { SliceMask, Thing } from "./types";

export interface Listeners {
  slice: (slice: SliceMask, done: number, expected: number) => void;
  end: (thing: Thing | null, problem: string | null) => void;
  lost: () => void; // the connection broke; the browser tries again by itself
}

export class Sweep {
  /** Fulfilled once the sweep is done, cancelled or failed, or is no longer listened to. */
  readonly ended: Promise<void>;
  isLost = false;
  private settle: () => void = () => {};

  constructor(
    private readonly source: EventSource,
    private readonly listeners: Listeners,
  ) {
    this.ended = new Promise((resolve) => (this.settle = resolve));
    source.addEventListener("slice", ({ data }) => {
      this.isLost = false;
      const slice = JSON.parse(data) as SliceMask & { done: number; expected: number };
      listeners.slice(slice, slice.done, slice.expected);
    });
    source.addEventListener("done", ({ data }) => this.end(JSON.parse(data).object, null));
    source.addEventListener("cancelled", ({ data }) => this.end(JSON.parse(data).object, null));
    source.addEventListener("failed", ({ data }) => this.end(null, JSON.parse(data).detail));
    source.onerror = () => {
      this.isLost = true;
      listeners.lost();
    };
  }

  close(): void {
    this.source.close();
    this.settle();
  }

  private end(thing: Thing | null, problem: string | null): void {
    this.close();
    this.listeners.end(thing, problem);
  }
}
