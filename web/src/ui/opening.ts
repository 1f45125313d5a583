/** The dialog that opens a volume: recent ones, the server's folders, a file of this computer, the sample. */

import type { Annotator } from "../annotator";
import * as api from "../api";
import { h, icon, iconButton } from "../dom";
import type { Store } from "../store";
import type { Entry, Volume } from "../types";
import { confirm, present } from "./dialogs";

export function opening(store: Store, annotator: Annotator): void {
  if (document.querySelector(".opening")) return;
  const recent = h("ul", { class: "entries" });
  const folder = h("ul", { class: "entries" });
  const path = h("p", { class: "path" });
  const file = h("input", { type: "file", multiple: true, class: "hidden", tabindex: -1, "aria-hidden": "true" });
  file.addEventListener("change", () => {
    if (file.files?.length) go({ files: [...file.files] }, file.files[0].name);
  });
  const go = (which: api.Which | { files: readonly File[] }, name: string): void => {
    dialog.close();
    void annotator.open(which, name);
  };
  const fail = (list: HTMLElement) => (error: Error) => list.replaceChildren(h("li", { class: "hint" }, error.message));

  const showRecent = async (): Promise<void> => {
    await annotator.listVolumes();
    const volumes = store.get("volumes");
    const items = volumes.map((volume) => recentItem(volume, () => go({ id: volume.id }, volume.name), async () => {
      const isSure = await confirm(`Delete ${volume.name}?`, "All work on it is removed and cannot be brought back. The file it came from stays.", "Delete");
      if (isSure) await annotator.removeVolume(volume).then(showRecent);
    }));
    recent.replaceChildren(...(items.length ? items : [h("li", { class: "hint" }, "Nothing opened yet.")]));
  };
  const showFolder = async (where?: string): Promise<void> => {
    const said = await api.files(where);
    path.textContent = said.folder ?? "Folders of the server";
    const items = said.entries.map((entry) =>
      entryItem(entry, () => {
        if (entry.kind === "folder") void showFolder(entry.path).catch(fail(folder));
        else go({ path: entry.path }, entry.name);
      }),
    );
    const up = said.folder === null ? null : entryItem({ name: "Up", path: "", kind: "folder", bytes: null }, () => void showFolder(said.parent ?? undefined).catch(fail(folder)), "up");
    const all = up ? [up, ...items] : items;
    folder.replaceChildren(...(all.length ? all : [h("li", { class: "hint" }, "The server offers no folder. Start it with limnet serve FOLDER, or drop a file on this window.")]));
  };

  const dialog = present(
    "Open a volume",
    "opening",
    h(
      "div",
      { class: "columns" },
      h("section", { "aria-label": "Recent volumes" }, h("h3", {}, "Recent"), recent),
      h("section", { "aria-label": "Folders of the server" }, h("h3", {}, "Files"), path, folder),
    ),
    h(
      "div",
      { class: "actions" },
      h("span", { class: "fine grow" }, "NIfTI, DICOM, NRRD, MetaImage, PNG or JPEG frames; a file can also be dropped on the window."),
      h("button", { type: "button", class: "button", onclick: () => go({ sample: true }, "the sample") }, "Sample"),
      h("button", { type: "button", class: "button primary", onclick: () => file.click() }, icon("upload"), "Upload"),
      file,
    ),
  );
  void showRecent().catch(fail(recent));
  void showFolder().catch(fail(folder));
}

function recentItem(volume: Volume, open: () => void, remove: () => void): HTMLElement {
  const size = volume.shape.join(" × ");
  return h(
    "li",
    {},
    h("button", { type: "button", class: "entry", onclick: open }, icon("file"), h("span", { class: "entry-name" }, volume.name), h("span", { class: "fine" }, size)),
    iconButton("bin", `Delete ${volume.name} and its work`, remove),
  );
}

function entryItem(entry: Entry, open: () => void, picture?: string): HTMLElement {
  const size = entry.bytes === null ? "" : `${(entry.bytes / 2 ** 20).toFixed(1)} MiB`;
  return h(
    "li",
    {},
    h("button", { type: "button", class: "entry", onclick: open }, icon(picture ?? (entry.kind === "folder" ? "folder" : "file")), h("span", { class: "entry-name" }, entry.name), h("span", { class: "fine" }, size)),
  );
}
