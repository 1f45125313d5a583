/** The list of objects: which one prompts go to, its name, colour, visibility, lock; what it measures. */

import type { Annotator } from "../annotator";
import { h, iconButton } from "../dom";
import type { Store } from "../store";
import type { Thing } from "../types";
import { confirm } from "./dialogs";

export function objects(store: Store, annotator: Annotator): HTMLElement {
  const list = h("ul", { class: "objects" });
  const add = iconButton("plus", "Add an object", () => void annotator.addObject());
  const measures = h("dl", { class: "measures" });
  const file = h("input", { type: "file", class: "hidden", tabindex: -1, "aria-hidden": "true" });
  file.addEventListener("change", () => {
    if (file.files?.[0]) void annotator.startFrom(file.files[0]);
    file.value = "";
  });
  const start = iconButton("upload", "Start the object from a mask in a file", () => file.click());
  const several = h("input", { type: "file", multiple: true, class: "hidden", tabindex: -1, "aria-hidden": "true" });
  several.addEventListener("change", () => {
    if (several.files?.length) void annotator.import([...several.files]);
    several.value = "";
  });
  const bring = iconButton("file", "Add the objects of a file: DICOM-SEG, RTSTRUCT, label map", () => several.click());
  const section = h("section", { class: "card", "aria-labelledby": "objects-title" });
  section.append(h("header", {}, h("h2", { id: "objects-title" }, "Objects"), bring, start, add, file, several), list, measures);

  let drawn = "";
  store.watch(["things", "activeId", "volume"], () => {
    section.hidden = store.get("volume") === null;
    const things = store.get("things");
    const now = JSON.stringify([things, store.get("activeId")]);
    if (now === drawn) return;
    drawn = now;
    const focused = document.activeElement?.closest<HTMLElement>("[data-part]");
    const part = focused && list.contains(focused) ? `[data-id="${focused.dataset.id}"][data-part="${focused.dataset.part}"]` : null;
    list.replaceChildren(...things.map((thing) => row(thing, store, annotator)));
    if (part) list.querySelector<HTMLElement>(part)?.focus();
    measures.replaceChildren(...measure(store.active));
    start.disabled = store.active === null;
  });
  return section;
}

function row(thing: Thing, store: Store, annotator: Annotator): HTMLElement {
  const { id, name } = thing;
  const isActive = id === store.get("activeId");
  const part = (what: string): Record<string, string> => ({ "data-id": String(id), "data-part": what });
  const colour = h("input", { type: "color", value: thing.colour, "aria-label": `Colour of ${name}`, ...part("colour") });
  colour.addEventListener("change", () => void annotator.change(id, { colour: colour.value }));
  const choose = h(
    "button",
    {
      type: "button",
      class: "object-name",
      "aria-pressed": String(isActive),
      title: "Choose; double-click to rename (F2)",
      onclick: () => void annotator.select(id),
      ondblclick: () => rename(choose, thing, annotator),
      onkeydown: (event: KeyboardEvent) => {
        if (event.key === "F2") rename(choose, thing, annotator);
      },
      ...part("name"),
    },
    name,
    h("span", { class: "object-volume" }, thing.voxels ? `${ml(thing.ml)} ml` : "empty"),
  );
  return h(
    "li",
    { class: isActive ? "object is-active" : "object" },
    colour,
    choose,
    iconButton(thing.visible ? "eye" : "eye-off", thing.visible ? `Hide ${name}` : `Show ${name}`, () => void annotator.change(id, { visible: !thing.visible }), part("eye")),
    iconButton(thing.locked ? "lock" : "unlock", thing.locked ? `Unlock ${name}` : `Lock ${name}`, () => void annotator.change(id, { locked: !thing.locked }), part("lock")),
    iconButton("bin", thing.locked ? `Unlock ${name} before deleting it` : `Delete ${name}`, () => void remove(thing, annotator), {
      disabled: thing.locked,
      ...part("bin"),
    }),
  );
}

async function remove(thing: Thing, annotator: Annotator): Promise<void> {
  const rounds = `${thing.num_rounds} round${thing.num_rounds === 1 ? "" : "s"}`;
  const isSure = await confirm(`Delete ${thing.name}?`, `Its mask and ${rounds} are removed and cannot be brought back.`, "Delete");
  if (isSure) await annotator.removeObject(thing.id);
}

/** Put a field in the name's place until Enter, Escape or a click elsewhere. */
function rename(button: HTMLElement, thing: Thing, annotator: Annotator): void {
  const field = h("input", { type: "text", class: "rename", value: thing.name, maxlength: 100, "aria-label": `Name of ${thing.name}` });
  let isOver = false;
  const finish = (isKept: boolean): void => {
    if (isOver) return;
    isOver = true;
    const name = field.value.trim();
    field.replaceWith(button);
    button.focus();
    if (isKept && name && name !== thing.name) void annotator.change(thing.id, { name });
  };
  field.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.key === "Enter") finish(true);
    if (event.key === "Escape") finish(false);
  });
  field.addEventListener("blur", () => finish(true));
  button.replaceWith(field);
  field.select();
}

function measure(thing: Thing | null): HTMLElement[] {
  if (!thing?.voxels) return [];
  const size = thing.diameters_mm.map((mm) => mm.toFixed(mm < 10 ? 1 : 0)).join(" × ");
  return (
    [
      ["Volume", `${ml(thing.ml)} ml`],
      ["Size", `${size} mm`],
    ] as const
  ).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)));
}

const ml = (value: number): string => (value >= 100 ? value.toFixed(0) : value >= 1 ? value.toFixed(1) : value.toPrecision(2));
