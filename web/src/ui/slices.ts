/** The slider through the main plane's slices, and under it the quality that the networks expect of each. */

import { byId, h } from "../dom";
import type { Planes } from "../planes";
import type { Store } from "../store";
import type { Axis, Quality, Voxel } from "../types";

export function slices(store: Store, planes: Planes): void {
  const canvas = h("canvas", { class: "strip-canvas", "aria-hidden": "true" });
  const strip = h("div", { class: "strip", tabindex: 0, role: "slider", "aria-label": "Slice of the large view", "aria-orientation": "horizontal" }, canvas);
  const said = h("span", { class: "slice-said" });
  const next = h("button", { type: "button", class: "button quiet next", onclick: () => goToSuggested(store) });
  byId("slices").append(said, strip, next);

  const axisNow = (): Axis | null => planes.grid?.axisOf(store.get("mainPlane")) ?? null;
  const goTo = (index: number): void => {
    const axis = axisNow();
    if (axis === null) return;
    const position: Voxel = [...store.get("position")];
    position[axis] = Math.min(Math.max(index, 0), planes.grid!.shape[axis] - 1);
    store.set({ position });
  };
  const pointed = (event: PointerEvent): void => {
    const { left, width } = canvas.getBoundingClientRect();
    goTo(Math.floor(((event.clientX - left) / width) * planes.grid!.shape[axisNow()!]));
  };
  strip.addEventListener("pointerdown", (event) => {
    if (axisNow() === null) return;
    strip.setPointerCapture(event.pointerId);
    pointed(event);
  });
  strip.addEventListener("pointermove", (event) => {
    if (strip.hasPointerCapture(event.pointerId)) pointed(event);
  });
  strip.addEventListener("keydown", (event) => {
    const axis = axisNow();
    if (axis === null) return;
    const now = store.get("position")[axis];
    const steps: Record<string, number> = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageUp: 10, PageDown: -10, Home: -1e9, End: 1e9 };
    if (!(event.key in steps)) return;
    event.preventDefault();
    event.stopPropagation();
    goTo(now + steps[event.key]);
  });

  const show = (): void => {
    const axis = axisNow();
    const isShown = store.get("volume") !== null && axis !== null;
    byId("slices").hidden = !isShown;
    if (!isShown) return;
    const count = planes.grid!.shape[axis];
    const now = store.get("position")[axis];
    const all = store.get("quality");
    const quality = all?.axis === axis ? all : null;
    const value = quality?.quality[now] ?? null;
    const words = value === null ? "" : `, expected quality ${value.toFixed(2)}`;
    strip.setAttribute("aria-valuemin", "1");
    strip.setAttribute("aria-valuemax", String(count));
    strip.setAttribute("aria-valuenow", String(now + 1));
    strip.setAttribute("aria-valuetext", `slice ${now + 1} of ${count}${words}`);
    said.replaceChildren(h("b", {}, String(now + 1)), ` / ${count}`, h("span", { class: "slice-quality" }, value === null ? "" : `quality ${value.toFixed(2)}`));
    const suggested = all?.suggested ?? null;
    next.hidden = suggested === null;
    next.textContent = suggested === null ? "" : `Look at ${suggested + 1}`;
    next.title = "The slice whose mask most needs a look (N)";
    draw(canvas, count, now, quality);
  };
  store.watch(["position", "mainPlane", "quality", "volume"], show);
  new ResizeObserver(show).observe(strip);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
  new MutationObserver(show).observe(document.documentElement, { attributeFilter: ["data-theme"] });
}

/** Move the crosshair to the slice that most needs a look, and make its plane the large one. */
export function goToSuggested(store: Store): void {
  const quality = store.get("quality");
  if (quality === null || quality.suggested === null) {
    store.say("No suggestion yet: it comes with the first round.");
    return;
  }
  const position: Voxel = [...store.get("position")];
  position[quality.axis] = quality.suggested;
  store.set({ position });
  document.dispatchEvent(new CustomEvent("limnet:plane", { detail: quality.axis }));
}

function draw(canvas: HTMLCanvasElement, count: number, now: number, quality: Quality | null): void {
  const { width, height } = canvas.getBoundingClientRect();
  const scale = devicePixelRatio;
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const pen = canvas.getContext("2d", { willReadFrequently: true })!; // drawn by the CPU: never waits for the planes
  pen.scale(scale, scale);
  const style = getComputedStyle(canvas);
  const colour = (name: string): string => style.getPropertyValue(name);
  const step = width / count;
  const base = height - 4;
  const tall = base - 9;
  const gap = step > 5 ? 1 : 0;
  pen.fillStyle = colour("--line");
  pen.fillRect(0, base, width, 2);
  quality?.quality.forEach((value, index) => {
    if (value === null) return;
    pen.fillStyle = colour(value >= 0.85 ? "--good" : value >= 0.7 ? "--fair" : "--poor");
    const bar = Math.max(2, value * tall);
    pen.fillRect(index * step + gap / 2, base - bar, Math.max(step - gap, 1), bar);
  });
  for (const index of quality?.prompted ?? []) diamond(pen, (index + 0.5) * step, 4, 3.5, colour("--text"), true);
  if (quality && quality.suggested !== null) diamond(pen, (quality.suggested + 0.5) * step, 4.5, 4, colour("--accent"), false);
  const x = (now + 0.5) * step;
  pen.fillStyle = colour("--accent");
  pen.fillRect(x - 1, 0, 2, height);
  pen.beginPath();
  pen.arc(x, base + 1, 4, 0, 7);
  pen.fill();
}

function diamond(pen: CanvasRenderingContext2D, x: number, y: number, r: number, colour: string, isFilled: boolean): void {
  pen.beginPath();
  pen.moveTo(x, y - r);
  pen.lineTo(x + r, y);
  pen.lineTo(x, y + r);
  pen.lineTo(x - r, y);
  pen.closePath();
  pen.fillStyle = pen.strokeStyle = colour;
  pen.lineWidth = 1.5;
  if (isFilled) pen.fill();
  else pen.stroke();
}
