/**
 * Between the volume's array and what the screen shows.
 *
 * NiiVue turns every volume so that its three axes come nearest to right, anterior and superior: an axis of the screen
 * is an axis of the array, perhaps backwards. `permRAS` says which: permRAS[a] = ±(array axis + 1), minus when backwards.
 */

import type { Axis, Voxel } from "./types";

/** Planes by the screen axis they are cut along, numbered as NiiVue does. */
export const AXIAL = 0;
export const CORONAL = 1;
export const SAGITTAL = 2;
export type Plane = 0 | 1 | 2;
export const PLANES: readonly Plane[] = [AXIAL, CORONAL, SAGITTAL];
export const PLANE_NAMES = ["Axial", "Coronal", "Sagittal"] as const;
const DEPTH: readonly Axis[] = [2, 1, 0]; // screen axis a plane is cut along
const ACROSS: readonly Axis[] = [0, 0, 1]; // its screen axis from left to right, before radiological mirroring
const UP: readonly Axis[] = [1, 2, 2];

/** Where a volume's voxels lie on the screen and in the label map. */
export class Grid {
  readonly shape: Voxel; // of the array
  readonly size: Voxel; // of the turned volume
  readonly spacing: [number, number, number]; // mm, of the turned volume
  readonly step: Voxel; // in the turned, x-fastest label map, per array axis
  readonly start: number;
  private readonly arrayAxis: Voxel; // by screen axis
  private readonly backwards: [boolean, boolean, boolean];

  constructor(shape: Voxel, spacing: readonly number[], permRAS: readonly number[]) {
    this.shape = shape;
    this.arrayAxis = permRAS.map((p) => Math.abs(p) - 1) as Voxel;
    this.backwards = permRAS.map((p) => p < 0) as [boolean, boolean, boolean];
    this.size = this.arrayAxis.map((axis) => shape[axis]) as Voxel;
    this.spacing = this.arrayAxis.map((axis) => spacing[axis]) as [number, number, number];
    const strides = [1, this.size[0], this.size[0] * this.size[1]];
    const step: Voxel = [0, 0, 0];
    let start = 0;
    for (const screen of [0, 1, 2] as const) {
      const axis = this.arrayAxis[screen];
      step[axis] = this.backwards[screen] ? -strides[screen] : strides[screen];
      if (this.backwards[screen]) start += (shape[axis] - 1) * strides[screen];
    }
    this.step = step;
    this.start = start;
  }

  get count(): number {
    return this.size[0] * this.size[1] * this.size[2];
  }

  /** Where a voxel's label is in the label map. */
  offset(voxel: Voxel): number {
    return this.start + voxel[0] * this.step[0] + voxel[1] * this.step[1] + voxel[2] * this.step[2];
  }

  /** The turned volume's index of a voxel. */
  turned(voxel: Voxel): Voxel {
    return [0, 1, 2].map((screen) => {
      const axis = this.arrayAxis[screen];
      return this.backwards[screen] ? this.shape[axis] - 1 - voxel[axis] : voxel[axis];
    }) as Voxel;
  }

  /** The voxel at an index of the turned volume; rounded and kept inside. */
  voxel(turned: readonly number[]): Voxel {
    const voxel: Voxel = [0, 0, 0];
    for (const screen of [0, 1, 2] as const) {
      const axis = this.arrayAxis[screen];
      const index = Math.min(Math.max(Math.round(turned[screen]), 0), this.size[screen] - 1);
      voxel[axis] = this.backwards[screen] ? this.shape[axis] - 1 - index : index;
    }
    return voxel;
  }

  /** The array axis that a plane's slices are cut along. */
  axisOf(plane: Plane): Axis {
    return this.arrayAxis[DEPTH[plane]] as Axis;
  }

  /** The plane whose slices are cut along an array axis. */
  planeOf(axis: Axis): Plane {
    return PLANES.find((plane) => this.axisOf(plane) === axis)!;
  }

  /** How a plane's screen axes run: [right, up, into the screen], as axes of the turned volume. */
  static screenAxes(plane: Plane): [Axis, Axis, Axis] {
    return [ACROSS[plane], UP[plane], DEPTH[plane]];
  }

  /** `voxel` moved by whole voxels of the turned volume, kept inside. */
  moved(voxel: Voxel, screenAxis: Axis, by: number): Voxel {
    const turned = this.turned(voxel);
    turned[screenAxis] += by;
    return this.voxel(turned);
  }
}

/** The letters at a plane's left, right, top and bottom; radiological: the patient's right on the screen's left. */
export function letters(plane: Plane): [string, string, string, string] {
  if (plane === AXIAL) return ["R", "L", "A", "P"];
  return plane === CORONAL ? ["R", "L", "S", "I"] : ["A", "P", "S", "I"];
}
