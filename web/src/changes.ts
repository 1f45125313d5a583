/** One change after the other, and words for what goes wrong. */

import { Offline, Problem } from "./api";
import type { Store } from "./store";

export class Changes {
  private queue: Promise<void> = Promise.resolve();
  private numQueued = 0;

  constructor(protected readonly store: Store) {}

  /** Whether the change that runs is the last one asked for. */
  protected get isLast(): boolean {
    return this.numQueued === 1;
  }

  /** Run a change after those before it; what goes wrong is told. */
  protected do(change: () => Promise<void>): Promise<void> {
    this.numQueued++;
    this.store.set({ numUnsaved: this.store.get("numUnsaved") + 1 });
    const run = this.queue.then(async () => {
      try {
        await this.quietly(change);
      } finally {
        this.numQueued--;
        this.store.set({ numUnsaved: this.store.get("numUnsaved") - 1 });
      }
    });
    this.queue = run;
    return run;
  }

  protected async quietly(run: () => Promise<void>): Promise<void> {
    try {
      await run();
      if (this.store.get("notice")?.kind === "error") this.store.set({ notice: null });
    } catch (error) {
      this.fail(error);
    }
  }

  protected fail(error: unknown): void {
    if (error instanceof Offline) this.store.set({ isOnline: false });
    else if (error instanceof Problem && error.status === 401) this.store.set({ isKeyNeeded: true });
    else this.store.set({ notice: { kind: "error", text: this.wordsOf(error) } });
  }

  protected wordsOf(error: unknown): string {
    if (error instanceof Problem) return error.message.charAt(0).toUpperCase() + error.message.slice(1);
    if (error instanceof Offline) return error.message;
    console.error(error);
    return `The page failed: ${error instanceof Error ? error.message : String(error)}. Reload it; your work is on the server.`;
  }
}
