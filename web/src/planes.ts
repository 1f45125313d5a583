/**
 * NiiVue's three planes, each in a tile of one canvas, and the label map on them.
 *
 * Slices are those of the array (NiiVue's voxel space), never resampled: what is clicked is a voxel. A tile shows as
 * much as fits in it; centre and zoom are ours and shared by the planes.
 */

import { NVImage, SLICE_TYPE } from "@niivue/niivue";

import { Grid, PLANES, type Plane } from "./grid";
import { Labels } from "./labels";
import { Tiles, type Layout, type Point } from "./tiles";
import type { Volume, Voxel } from "./types";

const UPLOAD_EVERY_MS = 60;
const DRAW_TEXTURE = 0x84c0 + 7; // gl.TEXTURE7, where NiiVue keeps the label map
const FILL = 0.28;
const RIM = 0.95;
const MOST_ZOOM = 24;

export class Planes {
  grid: Grid | null = null;
  labels: Labels | null = null;
  /** After each drawing: overlays follow. */
  onDraw: () => void = () => {};

  private readonly nv: Tiles;
  private image: NVImage | null = null;
  private pixels: Point = [1, 1]; // CSS size of the stage
  private isDrawAsked = false;
  private uploadedAt = 0;
  private isLabelled = true; // labels are shown

  private constructor(nv: Tiles) {
    this.nv = nv;
  }

  static async on(canvas: HTMLCanvasElement): Promise<Planes> {
    const nv = new Tiles({
      interactive: false,
      dragAndDropEnabled: false,
      isRadiologicalConvention: true,
      isOrientationTextVisible: false,
      isSliceMM: false,
      isResizeCanvas: true,
      crosshairWidth: 1,
      crosshairWidthUnit: "voxels",
      crosshairColor: [0.45, 0.72, 0.9, 1],
      sagittalNoseLeft: true,
      backColor: [0, 0, 0, 1],
      loadingText: "",
      logLevel: "silent",
      isAntiAlias: false,
    });
    await nv.attachToCanvas(canvas, false);
    nv.opts.crosshairWidth = 0; // overlays draw it: sharp, with a gap around the centre
    nv.drawRimOpacity = RIM;
    nv.drawOpacity = FILL;
    return new Planes(nv);
  }

  /** Show a volume, with an empty label map. */
  async show(volume: Volume, data: ArrayBuffer): Promise<Grid> {
    this.clear();
    const { low, high } = volume.intensity;
    const image = await NVImage.loadFromUrl({ url: data, name: `${volume.id}.nii`, cal_min: low, cal_max: high });
    this.nv.addVolume(image);
    this.image = image;
    this.grid = new Grid(volume.shape, volume.spacing_mm, image.permRAS!);
    this.nv.createEmptyDrawing();
    this.labels = new Labels(this.grid);
    this.nv.drawBitmap = this.labels.array;
    this.nv.drawOpacity = FILL;
    this.resetView();
    return this.grid;
  }

  /** An even sample of the volume's numbers, sorted. */
  intensities(most = 50_000): Float32Array {
    const { img, hdr } = this.image ?? {};
    if (!img || !hdr || hdr.numBitsPerVoxel === 24) return new Float32Array();
    const step = Math.max(1, Math.floor(img.length / most));
    const sample = new Float32Array(Math.floor(img.length / step));
    const slope = hdr.scl_slope || 1;
    for (let n = 0; n < sample.length; n++) sample[n] = Number(img[n * step]) * slope + (hdr.scl_inter || 0);
    return sample.sort();
  }

  clear(): void {
    if (this.image) {
      this.nv.closeDrawing();
      this.nv.removeVolume(this.image);
    }
    this.image = null;
    this.grid = null;
    this.labels = null;
    this.draw();
  }

  /** Where each plane is drawn; a plane that is left out is not. */
  place(layout: Layout, width: number, height: number): void {
    this.pixels = [width, height];
    this.nv.layout = layout;
    const shown = PLANES.filter((plane) => layout[plane]);
    this.nv.setCustomLayout(
      shown.map((plane) => {
        const { left, top, width: w, height: h } = layout[plane]!;
        return {
          sliceType: plane as unknown as SLICE_TYPE,
          position: [left / width, top / height, w / width, h / height] as [number, number, number, number],
        };
      }),
    );
    this.draw();
  }

  /** The canvas took another size. */
  resized(): void {
    this.nv.resizeListener();
  }

  setWindow(low: number, high: number): void {
    if (!this.image || (this.image.cal_min === low && this.image.cal_max === high)) return;
    this.image.cal_min = low;
    this.image.cal_max = high;
    this.nv.updateGLVolume();
    this.draw();
  }

  /** Colours by slot; alpha 0 hides. */
  setColours(colours: ReadonlyMap<number, [number, number, number, number]>): void {
    const lut = this.nv.drawLut.lut;
    lut.fill(0);
    for (const [slot, rgba] of colours) lut.set(rgba, slot * 4);
    this.nv.refreshColormaps();
    this.draw();
  }

  set isMaskShown(isShown: boolean) {
    this.isLabelled = isShown;
    this.nv.drawOpacity = isShown ? FILL : 0;
    this.nv.drawRimOpacity = isShown ? RIM : 0;
    this.draw();
  }

  get isMaskShown(): boolean {
    return this.isLabelled;
  }

  setCrosshair(voxel: Voxel): void {
    if (!this.grid) return;
    const { size } = this.grid;
    const turned = this.grid.turned(voxel);
    this.nv.scene.crosshairPos = turned.map((n, axis) => (n + 0.5) / size[axis]) as unknown as Float32Array;
    this.draw();
  }

  // Zoom and pan

  get zoom(): number {
    return this.nv.zoom;
  }

  resetView(): void {
    this.nv.zoom = 1;
    this.nv.pan = [0, 0, 0];
    this.draw();
  }

  /** Zoom by a factor; what lies under `at` stays there. */
  zoomBy(factor: number, plane: Plane, at: Point): void {
    const before = this.turnedAt(plane, at);
    this.nv.zoom = Math.min(Math.max(this.nv.zoom * factor, 0.5), MOST_ZOOM);
    this.redrawNow();
    const after = this.turnedAt(plane, at);
    if (before && after) this.panTurned(before.map((n, axis) => n - after[axis]));
    this.draw();
  }

  /** Move what is shown by CSS pixels. */
  panBy(plane: Plane, from: Point, to: Point): void {
    const a = this.turnedAt(plane, from);
    const b = this.turnedAt(plane, to);
    if (a && b) this.panTurned(a.map((n, axis) => n - b[axis]));
    this.draw();
  }

  private panTurned(by: readonly number[]): void {
    by.forEach((n, axis) => (this.nv.pan[axis] += n * this.grid!.spacing[axis]));
  }

  // Between screen and volume

  /** The turned volume's index (fractional, centres at whole numbers) under a point of a plane's tile. */
  turnedAt(plane: Plane, at: Point): [number, number, number] | null {
    const tile = this.tileOf(plane);
    if (!tile || !this.grid) return null;
    const { origin, perPixel } = tile;
    const depth = Grid.screenAxes(plane)[2]; // that of the slice that is shown: exact
    return [0, 1, 2].map((a) =>
      a === depth
        ? this.nv.scene.crosshairPos[a] * this.grid!.size[a] - 0.5
        : origin[a] + perPixel[0][a] * at[0] + perPixel[1][a] * at[1],
    ) as [number, number, number];
  }

  /** The voxel under a point, or null beside the volume. */
  voxelAt(plane: Plane, at: Point, isKeptInside = false): Voxel | null {
    const turned = this.turnedAt(plane, at);
    if (!turned) return null;
    const isInside = turned.every((n, axis) => n >= -0.5 && n < this.grid!.size[axis] - 0.5);
    return isInside || isKeptInside ? this.grid!.voxel(turned) : null;
  }

  /** The point of a plane's tile where a voxel's centre is drawn. */
  pointOf(plane: Plane, voxel: Voxel): Point | null {
    const tile = this.tileOf(plane);
    if (!tile || !this.grid) return null;
    const [across, up] = Grid.screenAxes(plane);
    const turned = this.grid.turned(voxel);
    const { origin, perPixel } = tile;
    return [(turned[across] - origin[across]) / perPixel[0][across], (turned[up] - origin[up]) / perPixel[1][up]];
  }

  /** CSS pixels per mm in a plane's tile. */
  pixelsPerMm(plane: Plane): number {
    const tile = this.tileOf(plane);
    if (!tile || !this.grid) return 1;
    const [across] = Grid.screenAxes(plane);
    return 1 / (Math.abs(tile.perPixel[0][across]) * this.grid.spacing[across]);
  }

  /** How a tile's points become indices of the turned volume: linear, from two of its corners. */
  private tileOf(plane: Plane): { origin: number[]; perPixel: [number[], number[]] } | null {
    const index = this.nv.screenSlices.findIndex((tile) => (tile.axCorSag as number) === plane);
    const rect = this.nv.layout[plane];
    if (index < 0 || !rect || !this.grid) return null;
    const scale = this.nv.gl.canvas.width / this.pixels[0];
    const near = (fx: number, fy: number): number[] => {
      const x = (rect.left + rect.width * fx) * scale;
      const y = (rect.top + rect.height * fy) * scale;
      const frac = this.nv.screenXY2TextureFrac(x, y, index, false);
      return [0, 1, 2].map((axis) => frac[axis] * this.grid!.size[axis] - 0.5);
    };
    const [a, right, down] = [near(0.25, 0.25), near(0.75, 0.25), near(0.25, 0.75)];
    const perX = a.map((n, axis) => (right[axis] - n) / (rect.width * 0.5));
    const perY = a.map((n, axis) => (down[axis] - n) / (rect.height * 0.5));
    const [x, y] = [rect.left + rect.width * 0.25, rect.top + rect.height * 0.25];
    const origin = a.map((n, axis) => n - perX[axis] * x - perY[axis] * y); // at the stage's corner
    return { origin, perPixel: [perX, perY] };
  }

  // Drawing

  /** Draw soon: once per frame, however often it is asked. */
  draw(): void {
    if (this.isDrawAsked) return;
    this.isDrawAsked = true;
    requestAnimationFrame(() => {
      this.isDrawAsked = false;
      this.redrawNow();
    });
  }

  /** The label map changed: put it on the screen now, or soon while a sweep changes it again and again. */
  drawLabels(isUrgent = false): void {
    const wait = UPLOAD_EVERY_MS - (performance.now() - this.uploadedAt);
    if (isUrgent || wait <= 0) {
      this.redrawNow();
    } else if (!this.isDrawAsked) {
      this.isDrawAsked = true;
      setTimeout(() => {
        this.isDrawAsked = false;
        this.redrawNow();
      }, wait);
    }
  }

  private redrawNow(): void {
    this.upload();
    this.nv.drawScene();
    this.onDraw();
  }

  /** Send the changed part of the label map to its texture, straight out of the whole map. */
  private upload(): void {
    const region = this.labels?.takeRegion();
    if (!region || !this.nv.drawTexture || !this.grid) return;
    this.uploadedAt = performance.now();
    const { gl } = this.nv;
    const { low, high } = region;
    const { size } = this.grid;
    gl.activeTexture(DRAW_TEXTURE);
    gl.bindTexture(gl.TEXTURE_3D, this.nv.drawTexture);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    gl.pixelStorei(gl.UNPACK_ROW_LENGTH, size[0]);
    gl.pixelStorei(gl.UNPACK_IMAGE_HEIGHT, size[1]);
    gl.pixelStorei(gl.UNPACK_SKIP_PIXELS, low[0]);
    gl.pixelStorei(gl.UNPACK_SKIP_ROWS, low[1]);
    gl.pixelStorei(gl.UNPACK_SKIP_IMAGES, low[2]);
    gl.texSubImage3D(
      gl.TEXTURE_3D,
      0,
      low[0],
      low[1],
      low[2],
      high[0] - low[0],
      high[1] - low[1],
      high[2] - low[2],
      gl.RED,
      gl.UNSIGNED_BYTE,
      this.labels!.array,
    );
    for (const name of [gl.UNPACK_ROW_LENGTH, gl.UNPACK_IMAGE_HEIGHT, gl.UNPACK_SKIP_PIXELS, gl.UNPACK_SKIP_ROWS]) {
      gl.pixelStorei(name, 0);
    }
    gl.pixelStorei(gl.UNPACK_SKIP_IMAGES, 0);
  }
}
