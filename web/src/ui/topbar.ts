/** The bar at the top: which volume, its window, what to do next, whether all is saved. */

import type { Annotator } from "../annotator";
import { byId, h, icon, iconButton } from "../dom";
import type { Planes } from "../planes";
import type { Store } from "../store";
import { presetsOf, type Preset } from "../windows";
import { nextTheme } from "./theme";

export interface Doors {
  open: () => void;
  export: () => void;
  help: () => void;
}

export function topbar(store: Store, annotator: Annotator, planes: Planes, doors: Doors): void {
  const name = h("span", { class: "volume-name" });
  const open = h("button", { type: "button", class: "button volume-button", onclick: doors.open, title: "Open a volume (O)" }, icon("folder"), name);
  const save = h("button", { type: "button", class: "button", onclick: doors.export, title: "Export (Ctrl+S)" }, icon("download"), "Export");
  const saved = h("span", { class: "saved", role: "status" });
  byId("top").append(
    h("span", { class: "brand", "aria-hidden": "true" }, "limnet"),
    open,
    h("span", { class: "grow" }),
    toolOptions(store),
    sweepControls(store, annotator),
    h("span", { class: "grow" }),
    windowControls(store, planes),
    saved,
    save,
    iconButton("theme", "Light or dark", nextTheme),
    iconButton("help", "Keys and help (?)", doors.help),
  );
  store.watch(["volume"], () => {
    const volume = store.get("volume");
    name.textContent = volume?.name ?? "Open a volume";
    save.disabled = volume === null;
  });
  store.watch(["numUnsaved", "isOnline", "volume"], () => {
    const words = !store.get("isOnline") ? "Offline" : store.get("numUnsaved") ? "Saving…" : "Saved";
    saved.replaceChildren(store.get("volume") && words === "Saved" ? icon("check") : "", store.get("volume") ? words : "");
    saved.dataset.state = words;
    saved.title = "Every prompt and round is on the server's disk before it is shown as saved.";
  });
}

/** Include or exclude for shapes; the size of the brush. */
function toolOptions(store: Store): HTMLElement {
  const include = h("button", { type: "button", class: "segment", onclick: () => store.set({ isPositive: true }) }, "Include");
  const exclude = h("button", { type: "button", class: "segment", onclick: () => store.set({ isPositive: false }) }, "Exclude");
  const sign = h("div", { class: "segments", role: "group", "aria-label": "What a shape does" }, include, exclude);
  const size = h("input", { type: "range", min: 0.5, max: 40, step: 0.5, "aria-label": "Radius of the brush, mm" });
  size.addEventListener("input", () => store.set({ brushMm: Number(size.value) }));
  const said = h("output", { class: "brush-size" });
  const brush = h("label", { class: "brush-options" }, "Size", size, said);
  store.watch(["tool", "isPositive", "brushMm"], () => {
    const tool = store.get("tool");
    sign.hidden = !["box", "scribble", "lasso"].includes(tool);
    brush.hidden = !["brush", "eraser"].includes(tool);
    include.setAttribute("aria-pressed", String(store.get("isPositive")));
    exclude.setAttribute("aria-pressed", String(!store.get("isPositive")));
    size.value = String(store.get("brushMm"));
    said.textContent = `${store.get("brushMm").toFixed(1)} mm`;
  });
  return h("div", { class: "tool-options" }, sign, brush);
}

/** Sweep or cancel, and whether it starts by itself. */
function sweepControls(store: Store, annotator: Annotator): HTMLElement {
  const words = h("span", {}, "Sweep");
  const button = h("button", { type: "button", class: "button primary sweep", onclick: () => void run() }, icon("sweep"), words);
  const run = (): Promise<void> => (store.get("sweep") ? annotator.cancel() : annotator.carry());
  const automatic = h("input", { type: "checkbox", class: "switch", role: "switch" });
  automatic.addEventListener("change", () => {
    store.set({ isAutomatic: automatic.checked });
    localStorage.setItem("limnet.automatic", String(automatic.checked));
  });
  store.watch(["sweep", "things", "activeId", "isOnline", "isAutomatic"], () => {
    const sweep = store.get("sweep");
    const pending = store.active?.pending.length ?? 0;
    words.textContent = sweep ? "Cancel" : "Sweep";
    button.title = sweep ? "Cancel the sweep (Esc)" : `Carry ${pending || "no"} waiting prompt${pending === 1 ? "" : "s"} through the volume (Enter)`;
    button.replaceChildren(icon(sweep ? "stop" : "sweep"), words);
    button.disabled = !store.get("isOnline") || (!sweep && pending === 0) || sweep?.isCancelling === true;
    button.classList.toggle("is-running", sweep !== null);
    automatic.checked = store.get("isAutomatic");
  });
  return h("div", { class: "sweep-controls" }, button, h("label", { class: "auto", title: "Sweep after every prompt (A)" }, automatic, "Auto"));
}

function windowControls(store: Store, planes: Planes): HTMLElement {
  const select = h("select", { "aria-label": "Window preset (W)", class: "presets", title: "Window preset (W); drag with the right button to set it" });
  const values = h("span", { class: "window-values" });
  let presets: Preset[] = [];
  select.addEventListener("change", () => {
    const preset = presets[Number(select.value)];
    if (preset) store.set({ window: { low: preset.low, high: preset.high, preset: preset.name } });
  });
  store.watch(["volume"], () => {
    const volume = store.get("volume");
    presets = volume ? presetsOf(volume, planes.intensities()) : [];
    select.replaceChildren(...presets.map((preset, n) => h("option", { value: n }, preset.name)), h("option", { value: -1, hidden: true }, "By hand"));
    select.disabled = presets.length === 0 || volume!.is_rgb;
    if (presets[0]) store.set({ window: { low: presets[0].low, high: presets[0].high, preset: presets[0].name } });
  });
  store.watch(["window"], () => {
    const { low, high, preset } = store.get("window");
    select.value = String(presets.findIndex(({ name }) => name === preset));
    values.textContent = store.get("volume") ? `L ${round((low + high) / 2)}  W ${round(high - low)}` : "";
    planes.setWindow(low, high);
  });
  return h("div", { class: "window" }, select, values);
}

const round = (value: number): string => (Math.abs(value) >= 10 ? value.toFixed(0) : value.toPrecision(2));

/** The next preset of the list, for a key. */
export function nextPreset(): void {
  const select = document.querySelector<HTMLSelectElement>(".presets")!;
  const count = select.options.length - 1;
  if (count < 1) return;
  select.value = String((Number(select.value) + 1) % count);
  select.dispatchEvent(new Event("change"));
}
