/** What the server says, as in /api/v1's OpenAPI description: voxel indices (i, j, k), mm, affine RAS+. */

export type Voxel = [number, number, number];
export type Axis = 0 | 1 | 2;

export interface About {
  version: string;
  licence: string;
  weights: string;
  server_id: string; // new at every start of the server
  user: string;
  limits: { max_upload_mib: number };
}

export interface Entry {
  name: string;
  path: string;
  kind: "folder" | "volume";
  bytes: number | null;
}

export interface Folder {
  folder: string | null;
  parent: string | null;
  entries: Entry[];
}

export interface Prompt {
  kind: "click" | "box" | "scribble" | "lasso" | "painted";
  positive?: boolean | null;
  axis?: Axis | null;
  index?: Voxel | number | null;
  low?: Voxel | null;
  high?: Voxel | null;
  points?: Voxel[] | null;
}

export interface Thing {
  id: number;
  name: string;
  colour: string; // "#rrggbb"
  locked: boolean;
  visible: boolean;
  num_rounds: number;
  num_prompts: number;
  pending: Prompt[];
  can_undo: boolean;
  can_redo: boolean;
  sweeping: boolean;
  voxels: number;
  ml: number;
  diameters_mm: [number, number, number];
}

export interface Volume {
  id: string;
  name: string;
  state: "open" | "closed";
  shape: Voxel;
  spacing_mm: [number, number, number];
  affine: number[][];
  dtype: string;
  is_rgb: boolean;
  sweep_axis: Axis;
  intensity: { minimum: number; maximum: number; low: number; high: number };
  path?: string | null;
  formats: string[]; // what it may be exported as
  objects: Thing[] | null;
}

export interface SliceMask {
  axis: Axis;
  index: number;
  shape: [number, number]; // (h, w)
  runs: number[]; // start, length, start, length, ... over the slice in C order
}

export interface Answer {
  object: Thing;
  slice: SliceMask;
}

export interface Round {
  number: number;
  axis: Axis;
  prompts: Prompt[];
  num_slices: number;
  num_kept: number;
  seconds: number | null;
  mean_quality: number | null;
  is_undone: boolean;
}

export interface Quality {
  axis: Axis;
  quality: (number | null)[];
  suggested: number | null;
  prompted: number[];
}

export type Tool = "navigate" | "click" | "box" | "scribble" | "lasso" | "brush" | "eraser";
