/** Dialogs: are you sure, help, export. All are the browser's own: focus stays inside, Escape closes. */

import type { Annotator } from "../annotator";
import { h, iconButton } from "../dom";
import type { Store } from "../store";

/** Show a dialog and remove it when it closes. */
export function present(title: string, className: string, ...content: (Node | string)[]): HTMLDialogElement {
  const id = `title-${className}`;
  const dialog = h("dialog", { class: `dialog ${className}`, "aria-labelledby": id });
  const close = iconButton("close", "Close", () => dialog.close());
  dialog.append(h("header", {}, h("h2", { id }, title), close), ...content);
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close(); // beside it
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** Ask before something that cannot be undone. */
export function confirm(title: string, text: string, action: string): Promise<boolean> {
  return new Promise((resolve) => {
    let isSure = false;
    const buttons = h(
      "div",
      { class: "actions" },
      h("button", { type: "button", class: "button", autofocus: true, onclick: () => dialog.close() }, "Keep"),
      h("button", { type: "button", class: "button danger", onclick: () => ((isSure = true), dialog.close()) }, action),
    );
    const dialog = present(title, "confirm", h("p", {}, text), buttons);
    dialog.addEventListener("close", () => resolve(isSure));
  });
}

const KEYS: readonly [string, readonly [string, string][]][] = [
  [
    "Segment",
    [
      ["Click", "include what is there"],
      ["Right click, Alt + click", "exclude it"],
      ["I / X", "include, exclude at the crosshair"],
      ["Enter, Space", "sweep the waiting prompts"],
      ["Esc", "cancel the sweep or the shape"],
      ["A", "sweep after every prompt"],
      ["N", "the slice that most needs a look"],
      ["Ctrl + Z, Ctrl + Y", "undo, redo"],
    ],
  ],
  [
    "Tools",
    [
      ["G", "look around"],
      ["C  B  S  L", "click, box, scribble, lasso"],
      ["P  E", "paint, erase"],
      ["[  ]", "smaller, larger brush"],
      ["D", "include or exclude with shapes"],
    ],
  ],
  [
    "Look",
    [
      ["Wheel, Page keys", "through the slices"],
      ["Arrows", "move the crosshair, with Shift by ten"],
      ["Shift + drag", "move the crosshair"],
      ["Ctrl + wheel, + and −", "zoom"],
      ["Middle drag", "pan"],
      ["0", "whole slices again"],
      ["Right drag, W", "window; next preset"],
      ["1  2  3", "large view: axial, coronal, sagittal"],
      ["M", "only the large view"],
      ["V", "hide or show the masks"],
      ["J / K", "next, previous object"],
    ],
  ],
  [
    "Volume",
    [
      ["O", "open"],
      ["Ctrl + S", "export"],
      ["?", "this help"],
    ],
  ],
];

export function help(store: Store): void {
  const groups = KEYS.map(([name, keys]) =>
    h(
      "section",
      {},
      h("h3", {}, name),
      h("dl", { class: "keys" }, ...keys.map(([key, what]) => h("div", {}, h("dt", {}, key), h("dd", {}, what)))),
    ),
  );
  const about = store.get("about");
  const words = about ? `limnet ${about.version} · ${about.licence} · networks ${about.weights}. For research: no medical device.` : "";
  const licences = h("a", { href: "licences.txt", target: "_blank", rel: "noreferrer" }, "Licences of the page's parts");
  present("Keys and help", "help", h("div", { class: "help-groups" }, ...groups), h("p", { class: "fine" }, words, " ", licences));
}

const FORMATS: Readonly<Record<string, string>> = {
  "nii.gz": "NIfTI (.nii.gz)",
  nrrd: "NRRD (.nrrd)",
  mha: "MetaImage (.mha)",
  "seg.nrrd": "3D Slicer segmentation (.seg.nrrd)",
  "seg.dcm": "DICOM-SEG (.seg.dcm)",
  "labelmap.dcm": "DICOM-SEG, label map (.labelmap.dcm)",
  "rtstruct.dcm": "DICOM RTSTRUCT (.rtstruct.dcm)",
};

export function exporting(store: Store, annotator: Annotator): void {
  const volume = store.get("volume");
  if (!volume) return;
  const things = store.get("things");
  const kind = h(
    "select",
    { id: "export-kind" },
    h("option", { value: "labels" }, "All objects"),
    ...things.map((thing) => h("option", { value: thing.id }, `Only ${thing.name}`)),
  );
  const format = h(
    "select",
    { id: "export-format" },
    ...volume.formats.map((name) => h("option", { value: name }, FORMATS[name] ?? name)),
  );
  const save = h("button", { type: "button", class: "button primary", onclick: () => void run() }, "Export");
  const run = async (): Promise<void> => {
    save.disabled = true;
    const isAll = kind.value === "labels";
    const objects = isAll ? null : [Number(kind.value)];
    const file = await annotator.export({ format: format.value, kind: isAll ? "labels" : "mask", objects });
    save.disabled = false;
    if (!file) return dialog.close();
    const [blob, name] = file;
    const url = URL.createObjectURL(blob);
    h("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
    dialog.close();
    store.say(`Exported ${name}, on the volume's own grid.`);
  };
  const dialog = present(
    "Export",
    "export",
    h(
      "p",
      { class: "fine" },
      "The masks go out on exactly the volume's grid and orientation. NIfTI, NRRD and MetaImage hold a number for each object;" +
        " the other formats its name and colour." +
        (volume.formats.includes("seg.dcm") ? " DICOM files refer to the series and hold the patient's data, as it does." : ""),
    ),
    h("label", { for: "export-kind" }, "What"),
    kind,
    h("label", { for: "export-format" }, "Format"),
    format,
    h("div", { class: "actions" }, save),
  );
}
