/**
 * A closed surface around one object of a label map, for the 3D view.
 *
 * Naive surface nets (Gibson 1998): one vertex per cell that the surface crosses, at the mean of its edges' crossings.
 * The map is first averaged over `factor`³ blocks and smoothed over 3³ so that slices leave no steps.
 */

import type { Voxel } from "./types";

const LONGEST = 96; // cells along the longest side of the object's box: the 3D view is a glance, not a measurement

export interface Surface {
  points: Float32Array; // (n, 3), index space of the label map
  triangles: Uint32Array; // (m, 3)
}

/** The half-open box of the voxels of `slot`, or null when there are none. */
export function boxOf(labels: Uint8Array, size: Voxel, slot: number): [Voxel, Voxel] | null {
  const low: Voxel = [...size];
  const high: Voxel = [0, 0, 0];
  let at = 0;
  for (let z = 0; z < size[2]; z++) {
    for (let y = 0; y < size[1]; y++, at += size[0]) {
      const row = labels.subarray(at, at + size[0]);
      const first = row.indexOf(slot);
      if (first < 0) continue;
      low[0] = Math.min(low[0], first);
      high[0] = Math.max(high[0], row.lastIndexOf(slot) + 1);
      low[1] = Math.min(low[1], y);
      high[1] = Math.max(high[1], y + 1);
      low[2] = Math.min(low[2], z);
      high[2] = z + 1;
    }
  }
  return high[0] ? [low, high] : null;
}

/** The surface of `slot`, or null when it has no voxels. */
export function surfaceOf(labels: Uint8Array, size: Voxel, slot: number): Surface | null {
  const box = boxOf(labels, size, slot);
  if (!box) return null;
  const [low, high] = box;
  const factor = Math.max(1, Math.ceil(Math.max(...low.map((n, axis) => high[axis] - n)) / LONGEST));
  const cells = low.map((n, axis) => Math.ceil((high[axis] - n) / factor) + 4) as Voxel; // two empty cells around
  const field = smooth(occupancy(labels, size, slot, low, high, cells, factor), cells);
  const level = field.reduce((most, value) => Math.max(most, value), 0) / 2; // a mask of one slice has no full cell
  const surface = net(field.map((value) => value - level), cells);
  for (let n = 0; n < surface.points.length; n++) {
    surface.points[n] = low[n % 3] + (surface.points[n] - 2 + 0.5) * factor - 0.5;
  }
  return surface;
}

/** The share of each cell that the object fills. */
function occupancy(
  labels: Uint8Array,
  size: Voxel,
  slot: number,
  low: Voxel,
  high: Voxel,
  cells: Voxel,
  factor: number,
): Float32Array {
  const field = new Float32Array(cells[0] * cells[1] * cells[2]);
  const share = 1 / factor ** 3;
  for (let z = low[2]; z < high[2]; z++) {
    const cz = Math.floor((z - low[2]) / factor) + 2;
    for (let y = low[1]; y < high[1]; y++) {
      const cy = Math.floor((y - low[1]) / factor) + 2;
      const row = (cz * cells[1] + cy) * cells[0];
      const from = (z * size[1] + y) * size[0];
      for (let x = low[0]; x < high[0]; x++) {
        if (labels[from + x] === slot) field[row + Math.floor((x - low[0]) / factor) + 2] += share;
      }
    }
  }
  return field;
}

/** A mean over three cells along each axis. */
function smooth(field: Float32Array, cells: Voxel): Float32Array {
  for (const stride of [1, cells[0], cells[0] * cells[1]]) {
    const next = new Float32Array(field.length);
    for (let n = stride; n < field.length - stride; n++) {
      next[n] = (field[n - stride] + field[n] + field[n + stride]) / 3;
    }
    field = next;
  }
  return field;
}

/** Surface nets of `field` where it is 0. */
function net(field: Float32Array, cells: Voxel): Surface {
  const [nx, ny, nz] = cells;
  const strides = [1, nx, nx * ny] as const;
  const corners = [0, 1, 2, 3, 4, 5, 6, 7].map((c) => (c & 1) * strides[0] + ((c >> 1) & 1) * strides[1] + (c >> 2) * strides[2]);
  const vertexOf = new Int32Array(field.length).fill(-1);
  const points: number[] = [];
  const triangles: number[] = [];
  for (let z = 0; z < nz - 1; z++) {
    for (let y = 0; y < ny - 1; y++) {
      for (let x = 0; x < nx - 1; x++) {
        const at = x + y * strides[1] + z * strides[2];
        let inside = 0;
        for (const corner of corners) inside += field[at + corner] > 0 ? 1 : 0;
        if (inside === 0 || inside === 8) continue;
        vertexOf[at] = points.length / 3;
        const [dx, dy, dz] = crossing(field, at, corners);
        points.push(x + dx, y + dy, z + dz);
        if (x && y && z) faces(field, at, strides, vertexOf, triangles);
      }
    }
  }
  return { points: new Float32Array(points), triangles: new Uint32Array(triangles) };
}

/** The mean of where the surface crosses a cell's twelve edges, in [0, 1]³. */
function crossing(field: Float32Array, at: number, corners: readonly number[]): Voxel {
  const sum: Voxel = [0, 0, 0];
  let count = 0;
  for (let a = 0; a < 8; a++) {
    for (let axis = 0; axis < 3; axis++) {
      const b = a | (1 << axis);
      if (b === a) continue;
      const from = field[at + corners[a]];
      const to = field[at + corners[b]];
      if (from > 0 === to > 0) continue;
      const share = from / (from - to);
      for (let d = 0; d < 3; d++) sum[d] += d === axis ? share : (a >> d) & 1;
      count++;
    }
  }
  return sum.map((value) => value / count) as Voxel;
}

/** Two triangles for each of the three edges at a cell's corner that the surface crosses, facing outwards. */
function faces(
  field: Float32Array,
  at: number,
  strides: readonly [number, number, number],
  vertexOf: Int32Array,
  triangles: number[],
): void {
  for (let axis = 0; axis < 3; axis++) {
    const isInside = field[at] > 0;
    if (isInside === field[at + strides[axis]] > 0) continue;
    const u = strides[(axis + 1) % 3];
    const v = strides[(axis + 2) % 3];
    const quad = [vertexOf[at], vertexOf[at - u], vertexOf[at - u - v], vertexOf[at - v]];
    const [a, b, c, d] = isInside ? quad : quad.reverse();
    triangles.push(a, b, c, a, c, d);
  }
}
