/** NiiVue, made to fill each tile with its plane, at our centre and zoom. */

import { Niivue } from "@niivue/niivue";

import { Grid, type Plane } from "./grid";

export interface Rect {
  left: number;
  top: number;
  width: number;
  height: number;
}
/** CSS pixels, relative to the stage. */
export type Layout = Partial<Record<Plane, Rect>>;
export type Point = [number, number];

type Screen = ReturnType<Niivue["screenFieldOfViewExtendedVox"]>;

/** NiiVue whose tiles are filled: the field of view has the tile's proportions, our centre and our zoom. */
export class Tiles extends Niivue {
  layout: Layout = {};
  zoom = 1;
  pan: [number, number, number] = [0, 0, 0]; // mm, of the turned volume's axes

  override calculateWidthHeight(): [number, number] {
    return [NaN, NaN];
  }

  /** Gradients light a volume rendering, which is never shown here; without them a new window costs a tenth. */
  override gradientGL(): void {}

  /** A canvas that is given its own size again is emptied and allocated anew: only when it changed. */
  override resizeListener(): void {
    const { canvas } = this;
    const scale = window.devicePixelRatio || 1;
    const isSame = canvas && canvas.width === Math.floor(canvas.offsetWidth * scale) && canvas.height === Math.floor(canvas.offsetHeight * scale);
    if (!isSame) super.resizeListener();
  }

  override screenFieldOfViewExtendedVox(plane: number = 0): Screen {
    const screen = super.screenFieldOfViewExtendedVox(plane);
    const tile = this.layout[plane as Plane];
    if (!tile || !tile.width || !tile.height) return screen;
    const [across, up] = Grid.screenAxes(plane as Plane);
    const pan = [this.pan[across], this.pan[up]];
    const extent = [0, 1].map((n) => screen.mxMM[n] - screen.mnMM[n]);
    const mmPerPixel = Math.max(extent[0] / tile.width, extent[1] / tile.height) / this.zoom;
    [tile.width, tile.height].forEach((pixels, n) => {
      const centre = (screen.mnMM[n] + screen.mxMM[n]) / 2 + pan[n];
      screen.mnMM[n] = centre - (pixels * mmPerPixel) / 2;
      screen.mxMM[n] = centre + (pixels * mmPerPixel) / 2;
      screen.fovMM[n] = pixels * mmPerPixel;
    });
    return screen;
  }
}
