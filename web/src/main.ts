/** The annotator's page: its parts, put together. */

import { Annotator } from "./annotator";
import { byId } from "./dom";
import { Gestures } from "./gestures";
import { keys } from "./keys";
import { Planes } from "./planes";
import { Scene } from "./scene";
import { Stage } from "./stage";
import { Store } from "./store";
import type { Axis } from "./types";
import { exporting, help } from "./ui/dialogs";
import { objects } from "./ui/objects";
import { opening } from "./ui/opening";
import { rounds } from "./ui/rounds";
import { slices } from "./ui/slices";
import { status } from "./ui/status";
import { applyTheme } from "./ui/theme";
import { toolbar } from "./ui/toolbar";
import { topbar } from "./ui/topbar";

const CHECK_EVERY_MS = 4000; // whether the server is still there and still the same
const OPAQUE = 255;
const PALE = 150; // objects that prompts do not go to

function newStore(): Store {
  return new Store({
    about: null,
    isOnline: true,
    isKeyNeeded: false,
    volumes: [],
    volume: null,
    things: [],
    activeId: null,
    rounds: [],
    quality: null,
    sweep: null,
    numUnsaved: 0,
    loading: { text: "Looking for the server", fraction: null },
    failure: null,
    notice: null,
    tool: "click",
    isPositive: true,
    brushMm: 5,
    isAutomatic: localStorage.getItem("limnet.automatic") !== "false",
    isMaskShown: true,
    is3dShown: true,
    position: [0, 0, 0],
    mainPlane: 0,
    isSingle: false,
    window: { low: 0, high: 1, preset: "" },
  });
}

async function start(): Promise<void> {
  applyTheme();
  const store = newStore();
  const planes = await Planes.on(byId<HTMLCanvasElement>("planes"));
  const annotator = new Annotator(store, planes);
  const stage = new Stage(byId("stage"), store, planes, byId("tiles"));
  const scene = new Scene(stage, store, planes);
  const gestures = new Gestures(stage, planes, store, annotator);
  const doors = {
    open: () => opening(store, annotator),
    export: () => exporting(store, annotator),
    help: () => help(store),
  };
  topbar(store, annotator, planes, doors);
  toolbar(store, annotator);
  byId("panel").append(objects(store, annotator), rounds(store, annotator));
  slices(store, planes);
  status(store, annotator, doors);
  keys({ store, annotator, planes, stage, gestures, scene, doors });
  follow(store, planes);
  drops(annotator);

  await annotator.checkServer();
  setInterval(() => void (document.hidden ? undefined : annotator.checkServer()), CHECK_EVERY_MS);
  window.addEventListener("online", () => void annotator.checkServer());
  await openFirst(store, annotator);
}

/** What the planes show follows the store. */
function follow(store: Store, planes: Planes): void {
  store.watch(["position", "volume"], () => planes.setCrosshair(store.get("position")));
  store.watch(["isMaskShown"], () => (planes.isMaskShown = store.get("isMaskShown")));
  store.watch(["things", "activeId"], () => {
    const colours = new Map<number, [number, number, number, number]>();
    store.get("things").forEach((thing, n) => {
      const [r, g, b] = [1, 3, 5].map((at) => parseInt(thing.colour.slice(at, at + 2), 16));
      const alpha = thing.visible ? (thing.id === store.get("activeId") ? OPAQUE : PALE) : 0;
      colours.set(n + 1, [r, g, b, alpha]);
    });
    planes.setColours(colours);
  });
  document.addEventListener("limnet:plane", (event) => {
    store.set({ mainPlane: planes.grid!.planeOf((event as CustomEvent<Axis>).detail) });
  });
}

/** Files dropped anywhere on the window are opened. */
function drops(annotator: Annotator): void {
  const veil = byId("drop");
  window.addEventListener("dragover", (event) => {
    event.preventDefault();
    veil.hidden = false;
  });
  window.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) veil.hidden = true;
  });
  window.addEventListener("drop", (event) => {
    event.preventDefault();
    veil.hidden = true;
    const files = [...(event.dataTransfer?.files ?? [])];
    if (files.length) void annotator.open({ files }, files[0].name);
  });
}

/** Open the volume of the address, else the one that was used last and is still open. */
async function openFirst(store: Store, annotator: Annotator): Promise<void> {
  if (store.get("about")) await annotator.listVolumes();
  const volumes = store.get("volumes");
  const wanted = new URLSearchParams(location.search).get("volume");
  const first = volumes.find((volume) => volume.id === wanted) ?? volumes.find((volume) => volume.state === "open");
  if (first) await annotator.open({ id: first.id }, first.name);
  else store.set({ loading: null });
}

void start().catch((error: unknown) => {
  console.error(error);
  const cover = byId("cover");
  cover.hidden = false;
  const text = document.createElement("p");
  text.setAttribute("role", "alert");
  text.textContent = "This browser cannot show the annotator: it needs WebGL 2. Use a current Firefox, Chrome, Edge or Safari with hardware graphics.";
  cover.replaceChildren(text);
});
