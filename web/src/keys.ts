/** The keyboard. Fields, dialogs and focused buttons keep the keys that are theirs. */

import type { Annotator } from "./annotator";
import type { Gestures } from "./gestures";
import { PLANES, type Plane } from "./grid";
import type { Planes } from "./planes";
import type { Scene } from "./scene";
import { keyStep, type Stage } from "./stage";
import type { Store } from "./store";
import { goToSuggested } from "./ui/slices";
import { BRUSH_MM, TOOLS } from "./ui/toolbar";
import { nextPreset, type Doors } from "./ui/topbar";

export interface Parts {
  store: Store;
  annotator: Annotator;
  planes: Planes;
  stage: Stage;
  gestures: Gestures;
  scene: Scene;
  doors: Doors;
}

export function keys(parts: Parts): void {
  // A ring around a view helps who moves with keys, and disturbs who points.
  document.addEventListener("pointerdown", () => (document.body.dataset.input = "pointer"), true);
  document.addEventListener("keydown", () => (document.body.dataset.input = "keys"), true);
  document.addEventListener("keydown", (event) => {
    const target = event.target as HTMLElement;
    if (event.defaultPrevented || document.querySelector("dialog[open]")) return;
    if (target.matches("input:not([type=range], [type=checkbox]), select, textarea") && event.key !== "Escape") return;
    const isButton = target.matches("button, a, input, summary");
    if (isButton && (event.key === "Enter" || event.key === " ")) return;
    if (target.matches("input[type=range]") && event.key.startsWith("Arrow")) return;
    if (event.ctrlKey || event.metaKey ? withControl(parts, event) : plain(parts, event)) event.preventDefault();
  });
}

/** Whether the key meant something. */
function withControl({ annotator, store, doors }: Parts, event: KeyboardEvent): boolean {
  const key = event.key.toLowerCase();
  if (store.get("volume") === null || event.altKey) return false;
  if (key === "z") void (event.shiftKey ? annotator.redo() : annotator.undo());
  else if (key === "y") void annotator.redo();
  else if (key === "s") doors.export();
  else return false;
  return true;
}

function plain(parts: Parts, event: KeyboardEvent): boolean {
  const { store, doors, annotator, gestures } = parts;
  if (event.altKey) return false;
  if (event.key === "?") return done(doors.help);
  if (event.key.toLowerCase() === "o") return done(doors.open);
  if (store.get("volume") === null) return false;
  if (event.key === "Escape") {
    if (!gestures.abandon()) void annotator.cancel();
    return true;
  }
  return look(parts, event) || segment(parts, event);
}

function look(parts: Parts, event: KeyboardEvent): boolean {
  const { store, planes, scene } = parts;
  const focused = (document.activeElement as HTMLElement | null)?.closest<HTMLElement>(".tile");
  const plane = (focused?.dataset.plane === undefined ? store.get("mainPlane") : Number(focused.dataset.plane)) as Plane;
  const step = keyStep(plane, event.key);
  if (step && focused?.classList.contains("scene")) {
    const turns: Record<string, [number, number]> = { ArrowLeft: [-10, 0], ArrowRight: [10, 0], ArrowUp: [0, 10], ArrowDown: [0, -10] };
    const turn = turns[event.key];
    return turn ? done(() => scene.turn(...turn)) : false;
  }
  if (step) {
    const [axis, by] = step;
    return done(() => store.set({ position: planes.grid!.moved(store.get("position"), axis, by * (event.shiftKey ? 10 : 1)) }));
  }
  switch (event.key.toLowerCase()) {
    case "1":
    case "2":
    case "3":
      return done(() => store.set({ mainPlane: PLANES[Number(event.key) - 1] }));
    case "m":
      return done(() => store.set({ isSingle: !store.get("isSingle") }));
    case "v":
      return done(() => store.set({ isMaskShown: !store.get("isMaskShown") }));
    case "w":
      return done(nextPreset);
    case "n":
      return done(() => goToSuggested(store));
    case "0":
      return done(() => planes.resetView());
    case "+":
    case "=":
    case "-":
      return done(() => {
        const at = planes.pointOf(plane, store.get("position"));
        if (at) planes.zoomBy(event.key === "-" ? 0.8 : 1.25, plane, at);
      });
    default:
      return false;
  }
}

function segment({ store, annotator, planes }: Parts, event: KeyboardEvent): boolean {
  const key = event.key.toLowerCase();
  const tool = TOOLS.find(([, , letter]) => letter.toLowerCase() === key);
  if (tool) return done(() => store.set({ tool: tool[0] }));
  const focused = (document.activeElement as HTMLElement | null)?.closest<HTMLElement>("[data-plane]");
  const plane = (focused ? Number(focused.dataset.plane) : store.get("mainPlane")) as Plane;
  switch (key) {
    case "enter":
    case " ":
      return done(() => void (store.get("sweep") ? undefined : annotator.carry()));
    case "i":
    case "x":
      return done(() => void annotator.click(store.get("position"), key === "i", planes.grid!.axisOf(plane)));
    case "a":
      return done(() => store.set({ isAutomatic: !store.get("isAutomatic") }));
    case "d":
      return done(() => store.set({ isPositive: !store.get("isPositive") }));
    case "[":
    case "]": {
      const factor = key === "]" ? BRUSH_MM.step : 1 / BRUSH_MM.step;
      const radius = Math.min(Math.max(store.get("brushMm") * factor, BRUSH_MM.least), BRUSH_MM.most);
      return done(() => store.set({ brushMm: Math.round(radius * 2) / 2 || BRUSH_MM.least }));
    }
    case "j":
    case "k": {
      const things = store.get("things");
      const now = things.findIndex((thing) => thing.id === store.get("activeId"));
      const next = things[(now + (key === "j" ? 1 : things.length - 1)) % things.length];
      return done(() => next && void annotator.select(next.id));
    }
    default:
      return false;
  }
}

function done(run: () => void): true {
  run();
  return true;
}
