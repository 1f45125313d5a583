/** The column of tools, and what the chosen one can be set to. */

import type { Annotator } from "../annotator";
import { byId, h, iconButton } from "../dom";
import type { Store } from "../store";
import type { Tool } from "../types";

export const TOOLS: readonly [Tool, string, string][] = [
  ["navigate", "Look", "G"],
  ["click", "Click", "C"],
  ["box", "Box", "B"],
  ["scribble", "Scribble", "S"],
  ["lasso", "Lasso", "L"],
  ["brush", "Paint", "P"],
  ["eraser", "Erase", "E"],
];
export const BRUSH_MM = { least: 0.5, most: 40, step: 1.25 };

export function toolbar(store: Store, annotator: Annotator): void {
  const buttons = TOOLS.map(([tool, name, key]) => {
    const button = iconButton(tool, `${name} (${key})`, () => store.set({ tool }), { class: "icon-button tool" });
    button.append(h("span", { class: "tool-name", "aria-hidden": "true" }, name));
    return button;
  });
  const undo = iconButton("undo", "Undo (Ctrl+Z)", () => void annotator.undo(), { class: "icon-button tool" });
  const redo = iconButton("redo", "Redo (Ctrl+Shift+Z)", () => void annotator.redo(), { class: "icon-button tool" });
  byId("tools").append(...buttons.slice(0, 1), rule(), ...buttons.slice(1, 5), rule(), ...buttons.slice(5), rule(), undo, redo);

  store.watch(["tool", "volume"], () => {
    buttons.forEach((button, n) => {
      button.setAttribute("aria-pressed", String(TOOLS[n][0] === store.get("tool")));
      button.disabled = store.get("volume") === null;
    });
    document.body.dataset.tool = store.get("tool");
  });
  store.watch(["things", "activeId", "isOnline"], () => {
    undo.disabled = !store.active?.can_undo || !store.get("isOnline");
    redo.disabled = !store.active?.can_redo || !store.get("isOnline");
  });
}

const rule = (): HTMLElement => h("hr", { class: "rule" });
