/**
 * The 3D view: a surface per object, turned by dragging or with the arrow keys. It is made again once nothing has
 * changed for a moment, and starts only with the first surface: its shaders take time to compile.
 */

import { NVMesh, Niivue, SLICE_TYPE } from "@niivue/niivue";

import { svg } from "./dom";
import type { Planes } from "./planes";
import type { Stage } from "./stage";
import type { Store } from "./store";
import { surfaceOf } from "./surface";

const CALM_MS = 300;
const DEGREES_PER_PIXEL = 0.5;
const MOST_ZOOM = 4;
const START = { azimuth: 200, elevation: 12 };

export class Scene {
  private timer = 0;
  private nv: Promise<Niivue> | null = null;
  private gizmo = svg("svg", { class: "gizmo", viewBox: "-32 -32 64 64", "aria-hidden": "true" });
  private azimuth = START.azimuth;
  private elevation = START.elevation;
  private zoom = 1;

  constructor(
    private readonly stage: Stage,
    private readonly store: Store,
    private readonly planes: Planes,
  ) {
    stage.scene.append(this.gizmo);
    this.listen(stage.scene);
    store.watch(["things", "sweep", "is3dShown", "volume", "isSingle"], () => this.ask());
  }

  /** Turn by degrees. */
  turn(azimuth: number, elevation: number): void {
    this.azimuth = (this.azimuth + azimuth + 360) % 360;
    this.elevation = Math.max(-90, Math.min(90, this.elevation + elevation));
    void this.draw();
  }

  private listen(element: HTMLElement): void {
    let last: [number, number] | null = null;
    element.addEventListener("pointerdown", (event) => {
      element.setPointerCapture(event.pointerId);
      last = [event.clientX, event.clientY];
    });
    element.addEventListener("pointermove", (event) => {
      if (!last) return;
      this.turn((event.clientX - last[0]) * DEGREES_PER_PIXEL, (event.clientY - last[1]) * DEGREES_PER_PIXEL);
      last = [event.clientX, event.clientY];
    });
    for (const name of ["pointerup", "pointercancel"]) element.addEventListener(name, () => (last = null));
    element.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        this.zoom = Math.min(Math.max(this.zoom * Math.exp(-event.deltaY * 0.002), 0.5), MOST_ZOOM);
        void this.draw();
      },
      { passive: false },
    );
  }

  private ask(): void {
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => void this.make(), CALM_MS);
  }

  private async make(): Promise<void> {
    const { labels, grid } = this.planes;
    const isHidden = this.stage.scene.hidden || this.store.get("sweep") !== null;
    if (isHidden || !labels || !grid) return;
    const shown = this.store.get("things").filter((thing) => thing.visible && thing.voxels > 0);
    if (shown.length === 0 && !this.nv) return;
    const nv = await (this.nv ??= this.begin());
    for (const mesh of [...nv.meshes]) nv.removeMesh(mesh);
    for (const thing of shown) {
      const surface = surfaceOf(labels.array, grid.size, this.store.slotOf(thing.id));
      if (!surface) continue;
      const points = surface.points.map((n, at) => (n - grid.size[at % 3] / 2) * grid.spacing[at % 3]);
      const colour = [1, 3, 5].map((at) => parseInt(thing.colour.slice(at, at + 2), 16));
      nv.addMesh(new NVMesh(points, surface.triangles, thing.name, new Uint8Array([...colour, 255]), 1, true, nv.gl));
    }
    await this.draw();
  }

  private async begin(): Promise<Niivue> {
    const nv = new Niivue({
      sliceType: SLICE_TYPE.RENDER,
      isOrientCube: false,
      interactive: false,
      dragAndDropEnabled: false,
      show3Dcrosshair: false,
      backColor: [0.043, 0.055, 0.067, 1],
      loadingText: "",
      logLevel: "silent",
      isAntiAlias: true,
      crosshairWidth: 0,
    });
    await nv.attachToCanvas(this.stage.sceneCanvas, true);
    return nv;
  }

  private async draw(): Promise<void> {
    this.drawGizmo();
    const nv = await this.nv;
    if (!nv) return;
    nv.scene.volScaleMultiplier = this.zoom;
    nv.scene.renderAzimuth = this.azimuth;
    nv.scene.renderElevation = this.elevation;
    nv.drawScene();
  }

  /** Which way left, anterior and superior lie, by NiiVue's camera: x mirrored, turned about z, then tilted. */
  private drawGizmo(): void {
    const [a, e] = [this.azimuth, this.elevation].map((degrees) => (degrees * Math.PI) / 180);
    const axes: [string, number, number, number][] = [
      ["L", -1, 0, 0],
      ["A", 0, 1, 0],
      ["S", 0, 0, 1],
    ];
    const parts = axes.flatMap(([letter, x, y, z]) => {
      const right = x * Math.cos(a) - y * Math.sin(a);
      const up = z * Math.cos(e) + (x * Math.sin(a) + y * Math.cos(a)) * Math.sin(e);
      const [px, py] = [right * 18, -up * 18];
      const line = svg("line", { x1: 0, y1: 0, x2: px, y2: py });
      const text = svg("text", { x: px * 1.45, y: py * 1.45 });
      text.textContent = letter;
      return [line, text];
    });
    this.gizmo.replaceChildren(...parts);
    this.gizmo.toggleAttribute("hidden", !this.nv);
  }
}
