/** The label map that the planes show: one slot per object, in the turned volume's order, x fastest. */

import type { Grid } from "./grid";
import type { SliceMask, Voxel } from "./types";

/** Half-open box in the turned volume: what has changed since the last upload. */
export interface Region {
  low: Voxel;
  high: Voxel;
}

export class Labels {
  readonly array: Uint8Array;
  private region: Region | null = null;

  constructor(private readonly grid: Grid) {
    this.array = new Uint8Array(grid.count);
  }

  /** Make one slice of the object in `slot` exactly this mask; voxels of a slot in `kept` stay as they are. */
  setSlice(mask: SliceMask, slot: number, kept: ReadonlySet<number>): void {
    const { axis, index, runs } = mask;
    const [rows, columns] = ([0, 1, 2] as const).filter((a) => a !== axis);
    const [height, width] = mask.shape;
    const start = this.grid.start + index * this.grid.step[axis];
    const down = this.grid.step[rows];
    const right = this.grid.step[columns];
    for (let row = 0; row < height; row++) {
      let at = start + row * down;
      for (let column = 0; column < width; column++, at += right) {
        if (this.array[at] === slot) this.array[at] = 0;
      }
    }
    for (let run = 0; run < runs.length; run += 2) {
      for (let flat = runs[run]; flat < runs[run] + runs[run + 1]; flat++) {
        const at = start + Math.floor(flat / width) * down + (flat % width) * right;
        if (!kept.has(this.array[at])) this.array[at] = slot;
      }
    }
    const low: Voxel = [0, 0, 0];
    const high: Voxel = [...this.grid.shape];
    low[axis] = index;
    high[axis] = index + 1;
    this.changed(low, high);
  }

  /** Make the object in `slot` exactly this block (C order) at `low`, and nothing elsewhere. */
  setBlock(block: Uint8Array, low: Voxel, high: Voxel, slot: number): void {
    for (let at = 0; at < this.array.length; at++) {
      if (this.array[at] === slot) this.array[at] = 0;
    }
    let from = 0;
    for (let i = low[0]; i < high[0]; i++) {
      for (let j = low[1]; j < high[1]; j++) {
        let at = this.grid.offset([i, j, low[2]]);
        for (let k = low[2]; k < high[2]; k++, at += this.grid.step[2]) {
          if (block[from++]) this.array[at] = slot;
        }
      }
    }
    this.changed([0, 0, 0], this.grid.shape);
  }

  /** Take over a whole label map of object ids in the array's own order, i fastest (NIfTI). */
  setAll(ids: ArrayLike<number>, slotOf: ReadonlyMap<number, number>): void {
    const [I, J, K] = this.grid.shape;
    let from = 0;
    for (let k = 0; k < K; k++) {
      for (let j = 0; j < J; j++) {
        let at = this.grid.offset([0, j, k]);
        for (let i = 0; i < I; i++, at += this.grid.step[0]) {
          const id = ids[from++];
          this.array[at] = id ? (slotOf.get(id) ?? 0) : 0;
        }
      }
    }
    this.changed([0, 0, 0], this.grid.shape);
  }

  clear(): void {
    this.array.fill(0);
    this.changed([0, 0, 0], this.grid.shape);
  }

  /** The changed region since the last call, or null. */
  takeRegion(): Region | null {
    const region = this.region;
    this.region = null;
    return region;
  }

  private changed(low: Voxel, high: Voxel): void {
    const a = this.grid.turned(low);
    const b = this.grid.turned(high.map((n) => n - 1) as Voxel);
    const next: Region = {
      low: a.map((n, axis) => Math.min(n, b[axis])) as Voxel,
      high: a.map((n, axis) => Math.max(n, b[axis]) + 1) as Voxel,
    };
    this.region = this.region ? union(this.region, next) : next;
  }
}

function union(a: Region, b: Region): Region {
  return {
    low: a.low.map((n, axis) => Math.min(n, b.low[axis])) as Voxel,
    high: a.high.map((n, axis) => Math.max(n, b.high[axis])) as Voxel,
  };
}
