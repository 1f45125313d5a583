/**
 * The stage: where each plane and the 3D view lie, and what is drawn over them: letters of orientation, crosshair,
 * prompts that wait, the shape under way.
 */

import { h, iconButton, svg } from "./dom";
import { Grid, PLANES, PLANE_NAMES, letters, type Plane } from "./grid";
import type { Planes } from "./planes";
import type { Store } from "./store";
import type { Layout, Point, Rect } from "./tiles";
import type { Prompt, Voxel } from "./types";

const GAP = 2; // px between tiles
const MAIN_SHARE = 0.66; // of the stage's width
const CROSS_GAP = 14; // px around the crosshair's centre that stay free

/** A shape that is being drawn, in a tile's pixels. */
export interface Sketch {
  plane: Plane;
  kind: "box" | "line" | "area";
  points: Point[];
  width: number; // px of a line
  colour: string;
}

export interface Tile {
  element: HTMLElement;
  overlay: SVGElement;
  title: HTMLElement;
}

export class Stage {
  readonly tiles: Record<Plane, Tile>;
  readonly scene: HTMLElement;
  readonly sceneCanvas: HTMLCanvasElement;
  sketch: Sketch | null = null;
  cursor: { plane: Plane; at: Point } | null = null; // of the brush

  constructor(
    private readonly root: HTMLElement,
    private readonly store: Store,
    private readonly planes: Planes,
    container: HTMLElement,
  ) {
    this.tiles = Object.fromEntries(PLANES.map((plane) => [plane, this.makeTile(plane)])) as Record<Plane, Tile>;
    this.sceneCanvas = h("canvas", { "aria-hidden": "true" });
    this.scene = h(
      "div",
      { class: "tile scene", tabindex: 0, role: "application", "aria-label": "3D view of the objects. Arrow keys turn it." },
      this.sceneCanvas,
      h("span", { class: "tile-title" }, "3D"),
    );
    container.append(...PLANES.map((plane) => this.tiles[plane].element), this.scene);
    planes.onDraw = () => this.drawOverlays();
    new ResizeObserver(() => this.place()).observe(root);
    store.watch(["mainPlane", "isSingle", "is3dShown", "volume"], () => this.place());
    store.watch(["position", "things", "activeId", "volume", "mainPlane"], () => this.drawOverlays());
  }

  private makeTile(plane: Plane): Tile {
    const overlay = svg("svg", { class: "overlay", "aria-hidden": "true" });
    const title = h("span", { class: "tile-title" });
    const expand = iconButton("expand", `Make the ${PLANE_NAMES[plane].toLowerCase()} view the large one`, () => {
      const isMain = this.store.get("mainPlane") === plane;
      this.store.set({ mainPlane: plane, isSingle: isMain && !this.store.get("isSingle") });
    });
    expand.classList.add("tile-expand");
    expand.addEventListener("pointerdown", (event) => event.stopPropagation());
    const marks = letters(plane).map((letter, n) => {
      const side = ["left", "right", "top", "bottom"][n];
      return h("span", { class: `mark mark-${side}`, "data-side": side }, letter);
    });
    const element = h("div", { class: "tile", "data-plane": plane, tabindex: 0, role: "application" }, title, ...marks, expand);
    element.prepend(overlay);
    return { element, overlay, title };
  }

  /** Lay out the tiles in the stage's present size. */
  place(): void {
    const { width, height } = this.root.getBoundingClientRect();
    if (width < 2 || height < 2) return;
    const main = this.store.get("mainPlane");
    const isShown = this.store.get("volume") !== null;
    const layout: Layout = {};
    let scene: Rect | null = null;
    if (this.store.get("isSingle")) {
      layout[main] = { left: 0, top: 0, width, height };
    } else {
      const left = Math.round(width * MAIN_SHARE);
      layout[main] = { left: 0, top: 0, width: left, height };
      const others = PLANES.filter((plane) => plane !== main);
      const rows = others.length + (this.store.get("is3dShown") ? 1 : 0);
      const row = (height - GAP * (rows - 1)) / rows;
      const at = (n: number): Rect => ({ left: left + GAP, top: n * (row + GAP), width: width - left - GAP, height: row });
      others.forEach((plane, n) => (layout[plane] = at(n)));
      if (this.store.get("is3dShown")) scene = at(others.length);
    }
    for (const plane of PLANES) put(this.tiles[plane].element, isShown ? (layout[plane] ?? null) : null);
    put(this.scene, isShown ? scene : null);
    this.planes.place(layout, width, height);
  }

  /** Whether a plane is on the screen. */
  isOn(plane: Plane): boolean {
    return !this.tiles[plane].element.hidden;
  }

  /** A pointer's place in the stage. */
  pointOf(event: MouseEvent): Point {
    const { left, top } = this.root.getBoundingClientRect();
    return [event.clientX - left, event.clientY - top];
  }

  drawOverlays(): void {
    const { grid } = this.planes;
    const volume = this.store.get("volume");
    if (!grid || !volume) return;
    const position = this.store.get("position");
    for (const plane of PLANES) {
      const { element, overlay, title } = this.tiles[plane];
      if (element.hidden) continue;
      const axis = grid.axisOf(plane);
      const where = `${position[axis] + 1} / ${volume.shape[axis]}`;
      title.textContent = `${PLANE_NAMES[plane]}  ${where}`;
      element.setAttribute(
        "aria-label",
        `${PLANE_NAMES[plane]} view, slice ${where.replace("/", "of")}. Arrow keys move the crosshair, I includes and X excludes what is under it.`,
      );
      const left = element.offsetLeft;
      const top = element.offsetTop;
      const parts = [...this.crosshair(plane, position), ...this.pending(plane, position), ...this.drawn(plane)];
      overlay.setAttribute("viewBox", `${left} ${top} ${element.offsetWidth} ${element.offsetHeight}`);
      overlay.replaceChildren(...parts);
    }
  }

  private crosshair(plane: Plane, position: Voxel): SVGElement[] {
    const at = this.planes.pointOf(plane, position);
    if (!at) return [];
    const [x, y] = at;
    const far = 4000;
    const lines = [
      [x, y - CROSS_GAP, x, y - far],
      [x, y + CROSS_GAP, x, y + far],
      [x - CROSS_GAP, y, x - far, y],
      [x + CROSS_GAP, y, x + far, y],
    ];
    return lines.map(([x1, y1, x2, y2]) => svg("line", { class: "crosshair", x1, y1, x2, y2 }));
  }

  /** Prompts of the active object that wait, where they lie on the shown slices. */
  private pending(plane: Plane, position: Voxel): SVGElement[] {
    const { active } = this.store;
    const grid = this.planes.grid!;
    const axis = grid.axisOf(plane);
    return (active?.pending ?? []).flatMap((prompt) => {
      const points = pointsOf(prompt);
      if (!points.length || points.some((point) => point[axis] !== position[axis])) return [];
      const at = points.map((point) => this.planes.pointOf(plane, point)!);
      const sign = prompt.positive === false ? "exclude" : "include";
      if (prompt.kind === "click") return [clickMark(at[0], sign)];
      if (prompt.kind === "box") return [rectangle(at[0], at[1], `prompt ${sign}`)];
      const path = at.map(([x, y]) => `${x},${y}`).join(" ");
      return [svg(prompt.kind === "lasso" ? "polygon" : "polyline", { class: `prompt ${sign}`, points: path })];
    });
  }

  private drawn(plane: Plane): SVGElement[] {
    const parts: SVGElement[] = [];
    const { sketch, cursor } = this;
    if (sketch?.plane === plane && sketch.points.length) {
      const points = sketch.points.map(([x, y]) => `${x},${y}`).join(" ");
      if (sketch.kind === "box") parts.push(rectangle(sketch.points[0], sketch.points.at(-1)!, "sketch"));
      if (sketch.kind === "area") parts.push(svg("polygon", { class: "sketch", points }));
      if (sketch.kind === "line") parts.push(svg("polyline", { class: "sketch line", points, "stroke-width": sketch.width }));
      for (const part of parts) part.style.setProperty("--sketch", sketch.colour);
    }
    if (cursor?.plane === plane) {
      const r = this.store.get("brushMm") * this.planes.pixelsPerMm(plane);
      parts.push(svg("circle", { class: "brush-cursor", cx: cursor.at[0], cy: cursor.at[1], r }));
    }
    return parts;
  }
}

function put(element: HTMLElement, rect: Rect | null): void {
  element.hidden = rect === null;
  if (!rect) return;
  for (const [name, value] of Object.entries(rect)) element.style.setProperty(name, `${value}px`);
}

/** The voxels that say where a prompt lies. */
export function pointsOf(prompt: Prompt): Voxel[] {
  if (Array.isArray(prompt.index)) return [prompt.index];
  if (prompt.low && prompt.high) return [prompt.low, prompt.high];
  return prompt.points ?? [];
}

function clickMark([x, y]: Point, sign: "include" | "exclude"): SVGElement {
  const arms = sign === "include" ? `M${x - 4} ${y}h8M${x} ${y - 4}v8` : `M${x - 4} ${y}h8`;
  return svg("g", { class: `mark-click ${sign}` }, svg("circle", { cx: x, cy: y, r: 7 }), svg("path", { d: arms }));
}

function rectangle(a: Point, b: Point, name: string): SVGElement {
  const [x, y] = [Math.min(a[0], b[0]), Math.min(a[1], b[1])];
  return svg("rect", { class: name, x, y, width: Math.abs(a[0] - b[0]), height: Math.abs(a[1] - b[1]) });
}

/** Screen axes of a plane, for whoever moves the crosshair with keys; radiological planes run leftwards. */
export function keyStep(plane: Plane, key: string): [0 | 1 | 2, number] | null {
  const [across, up, depth] = Grid.screenAxes(plane);
  switch (key) {
    case "ArrowLeft":
      return [across, 1];
    case "ArrowRight":
      return [across, -1];
    case "ArrowUp":
      return [up, 1];
    case "ArrowDown":
      return [up, -1];
    case "PageUp":
      return [depth, 1];
    case "PageDown":
      return [depth, -1];
    default:
      return null;
  }
}
