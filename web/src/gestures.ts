/**
 * Pointer gestures on the planes, as prompts and moves.
 *
 * Left: the tool; with Alt or Ctrl it excludes, with Shift it moves the crosshair. Right: a click excludes, a drag sets
 * the window. Middle drag pans, the wheel goes through the slices, Ctrl and wheel zoom.
 */

import type { Annotator } from "./annotator";
import { PLANES, type Plane } from "./grid";
import type { Planes } from "./planes";
import type { Sketch, Stage } from "./stage";
import type { Store } from "./store";
import type { Point } from "./tiles";
import type { Tool, Voxel } from "./types";

const DRAG_PX = 4; // less is a click
const WHEEL_PX = 40; // of scrolling per slice
const MOST_POINTS = 2000; // of a drawn line

interface Gesture {
  plane: Plane;
  kind: "pan" | "window" | "crosshair" | Tool;
  start: Point;
  last: Point;
  points: Point[];
  isNegative: boolean;
  isDrag: boolean;
}

export class Gestures {
  private gesture: Gesture | null = null;
  private scrolled = 0;

  constructor(
    private readonly stage: Stage,
    private readonly planes: Planes,
    private readonly store: Store,
    private readonly annotator: Annotator,
  ) {
    for (const plane of PLANES) this.attach(plane, stage.tiles[plane].element);
  }

  /** Give up what is being drawn; whether there was anything. */
  abandon(): boolean {
    const was = this.gesture;
    this.gesture = null;
    this.stage.sketch = null;
    this.stage.drawOverlays();
    return was !== null;
  }

  private attach(plane: Plane, element: HTMLElement): void {
    element.addEventListener("contextmenu", (event) => event.preventDefault());
    element.addEventListener("pointerdown", (event) => {
      if (this.gesture) return;
      event.preventDefault();
      element.focus({ preventScroll: true });
      element.setPointerCapture(event.pointerId);
      this.begin(plane, event);
    });
    element.addEventListener("pointermove", (event) => this.move(plane, event));
    element.addEventListener("pointerup", () => void this.end());
    element.addEventListener("pointercancel", () => this.abandon());
    element.addEventListener("pointerleave", () => this.hover(null));
    element.addEventListener("wheel", (event) => this.wheel(plane, event), { passive: false });
    element.addEventListener("dblclick", () => {
      if (this.store.get("tool") === "navigate") this.store.set({ mainPlane: plane });
    });
  }

  private begin(plane: Plane, event: PointerEvent): void {
    const at = this.stage.pointOf(event);
    const tool = this.store.get("tool");
    const kind = event.button === 1 ? "pan" : event.button === 2 ? "window" : event.shiftKey || tool === "navigate" ? "crosshair" : tool;
    const isNegative = event.altKey || event.ctrlKey || event.metaKey;
    this.gesture = { plane, kind, start: at, last: at, points: [at], isNegative, isDrag: false };
    if (kind === "crosshair") this.moveCrosshair(plane, at);
    if (kind === "click") void this.click(plane, at, !isNegative);
    this.sketch();
  }

  private move(plane: Plane, event: PointerEvent): void {
    const at = this.stage.pointOf(event);
    this.hover({ plane, at });
    const { gesture } = this;
    if (!gesture) return;
    const moved: Point = [at[0] - gesture.start[0], at[1] - gesture.start[1]];
    gesture.isDrag ||= Math.hypot(...moved) > DRAG_PX;
    if (gesture.kind === "pan") this.planes.panBy(gesture.plane, gesture.last, at);
    if (gesture.kind === "crosshair") this.moveCrosshair(gesture.plane, at);
    if (gesture.kind === "window" && gesture.isDrag) this.changeWindow(at[0] - gesture.last[0], at[1] - gesture.last[1]);
    if (gesture.points.length < MOST_POINTS) gesture.points.push(at);
    gesture.last = at;
    this.sketch();
  }

  private async end(): Promise<void> {
    const { gesture } = this;
    this.abandon();
    if (!gesture) return;
    const { plane, kind, points, isNegative, isDrag } = gesture;
    if (kind === "window" && !isDrag && this.store.get("tool") === "click") await this.click(plane, gesture.start, false);
    if (kind === "brush" || kind === "eraser") {
      const radius = this.store.get("brushMm");
      await this.annotator.stroke(this.voxels(plane, points), radius, kind === "eraser", this.axisOf(plane));
    }
    if (!isDrag) return;
    const isPositive = this.store.get("isPositive") !== isNegative;
    if (kind === "box") await this.box(plane, points[0], points.at(-1)!, isPositive);
    if (kind === "scribble") await this.annotator.scribble(this.voxels(plane, points), isPositive, this.axisOf(plane));
    if (kind === "lasso") await this.annotator.lasso(this.voxels(plane, points), isPositive, this.axisOf(plane));
  }

  private axisOf(plane: Plane): 0 | 1 | 2 {
    return this.planes.grid!.axisOf(plane);
  }

  private async click(plane: Plane, at: Point, isPositive: boolean): Promise<void> {
    const voxel = this.planes.voxelAt(plane, at);
    if (!voxel) return this.store.say("That point lies beside the volume.");
    this.store.set({ position: voxel });
    await this.annotator.click(voxel, isPositive, this.axisOf(plane));
  }

  private async box(plane: Plane, a: Point, b: Point, isPositive: boolean): Promise<void> {
    const [p, q] = [a, b].map((at) => this.planes.voxelAt(plane, at, true)!);
    const low = p.map((n, axis) => Math.min(n, q[axis])) as Voxel;
    const high = p.map((n, axis) => Math.max(n, q[axis])) as Voxel;
    await this.annotator.box(low, high, isPositive, this.axisOf(plane));
  }

  /** The voxels under a drawn line, each once in a row. */
  private voxels(plane: Plane, points: Point[]): Voxel[] {
    const voxels: Voxel[] = [];
    for (const at of points) {
      const voxel = this.planes.voxelAt(plane, at, true)!;
      const last = voxels.at(-1);
      if (!last || last.some((n, axis) => n !== voxel[axis])) voxels.push(voxel);
    }
    return voxels;
  }

  private moveCrosshair(plane: Plane, at: Point): void {
    const voxel = this.planes.voxelAt(plane, at, true);
    if (voxel) this.store.set({ position: voxel });
  }

  private changeWindow(dx: number, dy: number): void {
    const { low, high } = this.store.get("window");
    const width = (high - low) * Math.exp(dx * 0.006);
    const level = (low + high) / 2 + dy * (high - low) * 0.003;
    this.store.set({ window: { low: level - width / 2, high: level + width / 2, preset: "" } });
  }

  private wheel(plane: Plane, event: WheelEvent): void {
    event.preventDefault();
    const { grid } = this.planes;
    if (!grid) return;
    if (event.ctrlKey) {
      this.planes.zoomBy(Math.exp(-event.deltaY * 0.002), plane, this.stage.pointOf(event));
      return;
    }
    this.scrolled += event.deltaMode === 1 ? event.deltaY * WHEEL_PX : event.deltaY;
    const slices = Math.trunc(this.scrolled / WHEEL_PX);
    if (slices === 0) return;
    this.scrolled -= slices * WHEEL_PX;
    const axis = grid.axisOf(plane);
    const position: Voxel = [...this.store.get("position")];
    position[axis] = Math.min(Math.max(position[axis] + Math.sign(slices) * Math.min(Math.abs(slices), 3), 0), grid.shape[axis] - 1);
    this.store.set({ position });
  }

  private hover(cursor: { plane: Plane; at: Point } | null): void {
    const tool = this.store.get("tool");
    const next = tool === "brush" || tool === "eraser" ? cursor : null;
    if (next === null && this.stage.cursor === null) return;
    this.stage.cursor = next;
    this.stage.drawOverlays();
  }

  private sketch(): void {
    const { gesture } = this;
    if (!gesture) return;
    const kinds: Partial<Record<Gesture["kind"], Sketch["kind"]>> = {
      box: "box",
      scribble: "line",
      lasso: "area",
      brush: "line",
      eraser: "line",
    };
    const kind = kinds[gesture.kind];
    if (!kind) return;
    const isBrush = gesture.kind === "brush" || gesture.kind === "eraser";
    const width = isBrush ? 2 * this.store.get("brushMm") * this.planes.pixelsPerMm(gesture.plane) : 3;
    const excludes = gesture.kind === "eraser" || (!isBrush && this.store.get("isPositive") === gesture.isNegative);
    const colour = excludes ? "#ff8f7d" : (this.store.active?.colour ?? "#7fd6e8");
    this.stage.sketch = { plane: gesture.plane, kind, points: gesture.points, width, colour };
    this.stage.drawOverlays();
  }
}
