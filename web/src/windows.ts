/** Which grey values are shown: presets by modality. */

import type { Volume } from "./types";

export interface Preset {
  name: string;
  low: number;
  high: number;
}

const HU: readonly [string, number, number][] = [
  // name, level, width in HU
  ["Soft tissue", 40, 400],
  ["Lung", -600, 1500],
  ["Bone", 400, 1800],
  ["Brain", 40, 80],
  ["Liver", 60, 160],
];

/** Whether the numbers look like Hounsfield units: air far below zero, bone far above. */
export function isCt(volume: Volume): boolean {
  const { minimum, maximum } = volume.intensity;
  return !volume.is_rgb && minimum <= -200 && minimum >= -8192 && maximum > 150;
}

/** The value below which a share of the sorted numbers lies. */
export function percentile(sorted: ArrayLike<number>, share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.round(share * (sorted.length - 1))))];
}

/** The presets of a volume; `sorted` are its intensities or an even sample of them. */
export function presetsOf(volume: Volume, sorted: ArrayLike<number>): Preset[] {
  const { low, high, minimum, maximum } = volume.intensity;
  const presets: Preset[] = [{ name: "Automatic", low, high }];
  if (isCt(volume)) {
    for (const [name, level, width] of HU) presets.push({ name, low: level - width / 2, high: level + width / 2 });
  } else if (!volume.is_rgb && sorted.length) {
    for (const [name, tail] of [["Gentle", 0.002], ["Strong", 0.02], ["Hard", 0.08]] as const) {
      presets.push({ name, low: percentile(sorted, tail), high: percentile(sorted, 1 - tail) });
    }
  }
  presets.push({ name: "Full range", low: minimum, high: maximum });
  return presets.filter((preset) => preset.high > preset.low);
}
