/** What happens now, in words: the line at the bottom, the banner at the top, the cover over an empty stage. */

import type { Annotator } from "../annotator";
import { byId, h, iconButton } from "../dom";
import type { Store } from "../store";
import type { Doors } from "./topbar";

const HINTS: Record<string, string> = {
  navigate: "Drag to move the crosshair. Right drag sets the window, middle drag pans.",
  click: "Click what belongs to the object; right click what does not.",
  box: "Drag a box around the object in one slice.",
  scribble: "Draw a line inside the object; with Exclude, outside of it.",
  lasso: "Draw around the object in one slice.",
  brush: "Paint the object in this slice.",
  eraser: "Erase the object in this slice.",
};

export function status(store: Store, annotator: Annotator, doors: Doors): void {
  const live = h("span", { class: "live", role: "status", "aria-live": "polite" });
  const bar = h("progress", { class: "progress", max: 1, "aria-label": "Progress of the sweep" });
  const place = h("span", { class: "place" });
  byId("status").append(live, bar, place);

  store.watch(["notice", "sweep", "tool", "volume"], () => {
    const notice = store.get("notice");
    const sweep = store.get("sweep");
    const line = byId("status");
    line.hidden = store.get("volume") === null;
    line.classList.toggle("is-error", notice?.kind === "error");
    line.querySelector(".dismiss")?.remove();
    if (notice?.kind === "error") {
      const dismiss = iconButton("close", "Dismiss", () => store.set({ notice: null }), { class: "icon-button dismiss" });
      line.prepend(dismiss);
    }
    const words = sweep ? sweepWords(sweep) : (notice?.text ?? HINTS[store.get("tool")]);
    if (live.textContent !== words) live.textContent = words;
    bar.hidden = sweep === null;
    if (sweep?.expected) bar.value = sweep.done / sweep.expected;
    else bar.removeAttribute("value");
  });
  store.watch(["position", "volume"], () => {
    place.textContent = store.get("volume") ? `voxel ${store.get("position").join(", ")}` : "";
  });
  banner(store, annotator);
  cover(store, annotator, doors);
}

function sweepWords(sweep: { done: number; expected: number; isCancelling: boolean }): string {
  if (sweep.isCancelling) return "Cancelling…";
  return "Carrying the mask through the volume…";
}

/** Ask for the key that the server wants. */
function keyForm(annotator: Annotator, failure: string | null): HTMLElement {
  const field = h("input", { type: "password", class: "field", autocomplete: "current-password", required: true, "aria-label": "Key" });
  const submit = (event: Event): void => {
    event.preventDefault();
    void annotator.login(field.value.trim());
  };
  return h(
    "form",
    { class: "cover-card", onsubmit: submit },
    h("h2", {}, "Your key"),
    h("p", {}, "This server asks who you are. Whoever runs it made a key for you with ", h("code", {}, "limnet keys add"), "."),
    failure && h("p", { role: "alert" }, failure),
    field,
    h("button", { type: "submit", class: "button primary" }, "Enter"),
  );
}

function banner(store: Store, annotator: Annotator): void {
  store.watch(["isOnline"], () => {
    const isOnline = store.get("isOnline");
    const element = byId("banner");
    element.hidden = isOnline;
    element.replaceChildren(
      ...(isOnline
        ? []
        : [
            h("span", {}, "The server does not answer. Start it again with ", h("code", {}, "limnet serve"), "; what it acknowledged is on disk."),
            h("button", { type: "button", class: "button", onclick: () => void annotator.checkServer() }, "Try now"),
          ]),
    );
  });
}

/** What lies over the stage while no volume is shown: loading, empty, failed. */
function cover(store: Store, annotator: Annotator, doors: Doors): void {
  store.watch(["loading", "failure", "volume", "isKeyNeeded"], () => {
    const element = byId("cover");
    const loading = store.get("loading");
    const failure = store.get("failure");
    const isKeyNeeded = store.get("isKeyNeeded");
    element.hidden = !loading && !isKeyNeeded && store.get("volume") !== null;
    if (isKeyNeeded) return element.replaceChildren(keyForm(annotator, failure));
    if (loading) {
      const bar = h("progress", { max: 1, "aria-label": loading.text, value: loading.fraction });
      element.replaceChildren(h("div", { class: "cover-card", role: "status" }, h("p", {}, loading.text), bar));
      return;
    }
    if (store.get("volume")) return element.replaceChildren();
    element.replaceChildren(
      h(
        "div",
        { class: "cover-card" },
        h("h2", {}, failure ? "That could not be opened" : "Open a scan"),
        failure
          ? h("p", { role: "alert" }, failure)
          : h("p", {}, "Click on a structure in one slice, and limnet carries it through the volume. Every click is saved as you go."),
        h(
          "div",
          { class: "actions" },
          h("button", { type: "button", class: "button primary", onclick: doors.open }, "Open…"),
          h("button", { type: "button", class: "button", onclick: () => void annotator.open({ sample: true }, "the sample") }, "Use the sample"),
        ),
        h("p", { class: "fine" }, "or drop a file here. Nothing leaves the server you are connected to."),
      ),
    );
  });
}
