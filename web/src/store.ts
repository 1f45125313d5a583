/** All that the page knows, and who wants to hear of changes. */

import type { About, Quality, Round, Thing, Tool, Volume, Voxel } from "./types";
import type { Plane } from "./grid";

export interface Notice {
  kind: "info" | "error";
  text: string;
}

export interface State {
  about: About | null;
  isOnline: boolean;
  isKeyNeeded: boolean; // the server does not know who this is
  volumes: Volume[];
  volume: Volume | null; // its `objects` are in `things`
  things: Thing[];
  activeId: number | null;
  rounds: Round[]; // of the active object
  quality: Quality | null;
  sweep: { object: number; done: number; expected: number; isCancelling: boolean } | null;
  numUnsaved: number; // requests under way that change something
  loading: { text: string; fraction: number | null } | null;
  failure: string | null; // why no volume is shown
  notice: Notice | null;
  tool: Tool;
  isPositive: boolean; // sign of boxes, scribbles and lassos
  brushMm: number; // radius
  isAutomatic: boolean; // sweep after every prompt
  isMaskShown: boolean;
  is3dShown: boolean;
  position: Voxel; // crosshair
  mainPlane: Plane;
  isSingle: boolean; // only the main plane
  window: { low: number; high: number; preset: string };
}

type Key = keyof State;

export class Store {
  private readonly listeners: { keys: readonly Key[]; run: () => void }[] = [];
  private waiting = new Set<Key>();

  constructor(private state: State) {}

  get<K extends Key>(key: K): State[K] {
    return this.state[key];
  }

  /** Change state; who listens to a changed key hears of it once, at the end of the current task. */
  set(change: Partial<State>): void {
    if (this.waiting.size === 0) queueMicrotask(() => this.tell());
    for (const key of Object.keys(change) as Key[]) {
      if (this.state[key] !== change[key]) this.waiting.add(key);
    }
    this.state = { ...this.state, ...change };
  }

  /** Run now and whenever one of `keys` has changed. */
  watch(keys: readonly Key[], run: () => void): void {
    this.listeners.push({ keys, run });
    run();
  }

  private tell(): void {
    const changed = this.waiting;
    this.waiting = new Set();
    for (const { keys, run } of this.listeners) {
      if (keys.some((key) => changed.has(key))) run();
    }
  }

  // What follows from the state

  get active(): Thing | null {
    return this.state.things.find((thing) => thing.id === this.state.activeId) ?? null;
  }

  /** The label map's slot of an object: 1 to 255, by its place in the list. */
  slotOf(id: number): number {
    return this.state.things.findIndex((thing) => thing.id === id) + 1;
  }

  /** Take over what the server said of one object. */
  update(thing: Thing): void {
    this.set({ things: this.state.things.map((known) => (known.id === thing.id ? thing : known)) });
  }

  say(text: string): void {
    this.set({ notice: { kind: "info", text } });
  }
}
