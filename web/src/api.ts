/** The server's API, typed. A refusal is a `Problem`, with the server's own line; no answer is `Offline`. */

import type { About, Answer, Axis, Folder, Quality, Round, Thing, Volume, Voxel } from "./types";

const BASE = "api/v1";

/** The server said no: RFC 9457 problem details. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly title: string,
    detail: string,
  ) {
    super(detail);
  }
}

/** The server did not answer. */
export class Offline extends Error {
  constructor() {
    super("The server does not answer. Start it again with limnet serve; what it acknowledged is on disk.");
  }
}

async function ask(method: string, path: string, body?: unknown): Promise<Response> {
  const isForm = body instanceof FormData;
  let response: Response;
  try {
    response = await fetch(`${BASE}${path}`, {
      method,
      body: body === undefined ? undefined : isForm ? body : JSON.stringify(body),
      headers: body === undefined || isForm ? {} : { "Content-Type": "application/json" },
    });
  } catch {
    throw new Offline();
  }
  if (!response.ok) throw await problemOf(response);
  return response;
}

/** The problem in a refusal's body; a proxy's answer may hold none. */
export async function problemOf(response: Response): Promise<Problem> {
  const fallback = `the server answered ${response.status} ${response.statusText}; try again`;
  const said: { title?: string; detail?: string } = await response.json().catch(() => ({}));
  return new Problem(response.status, said.title ?? response.statusText, said.detail ?? fallback);
}

async function json<T>(method: string, path: string, body?: unknown): Promise<T> {
  return (await ask(method, path, body)).json() as Promise<T>;
}

/** A body as it arrives; `progress` gets the fraction of its length, where the server says it. */
async function bytes(path: string, progress?: (fraction: number) => void): Promise<ArrayBuffer> {
  const response = await ask("GET", path);
  const length = Number(response.headers.get("X-Length") ?? response.headers.get("Content-Length") ?? 0);
  if (!progress || !length || !response.body) return response.arrayBuffer();
  const reader = response.body.getReader();
  const chunks: Uint8Array[] = [];
  let received = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    chunks.push(value);
    received += value.length;
    progress(Math.min(received / length, 1));
  }
  const all = new Uint8Array(received);
  let at = 0;
  for (const chunk of chunks) {
    all.set(chunk, at);
    at += chunk.length;
  }
  return all.buffer;
}

export const about = (): Promise<About> => json("GET", "/about");
export const login = async (key: string): Promise<void> => void (await ask("POST", "/login", { key }));
export const files = (folder?: string): Promise<Folder> =>
  json("GET", folder === undefined ? "/files" : `/files?folder=${encodeURIComponent(folder)}`);
export const volumes = (): Promise<Volume[]> => json("GET", "/volumes");

export function upload(list: readonly File[]): Promise<Volume> {
  const form = new FormData();
  for (const file of list) form.append("file", file, file.name);
  return json("POST", "/volumes", form);
}

export type Which = { path: string } | { sample: true } | { id: string };
export const open = (which: Which): Promise<Volume> => json("POST", "/volumes/open", which);

/** One volume of the server. */
export class VolumeApi {
  constructor(readonly id: string) {}

  private get path(): string {
    return `/volumes/${encodeURIComponent(this.id)}`;
  }

  get = (): Promise<Volume> => json("GET", this.path);
  data = (progress: (fraction: number) => void): Promise<ArrayBuffer> => bytes(`${this.path}/data.nii`, progress);
  labels = (): Promise<ArrayBuffer> => bytes(`${this.path}/labels.nii`);
  close = async (): Promise<void> => void (await ask("POST", `${this.path}/close`));
  remove = async (name: string): Promise<void> => void (await ask("DELETE", this.path, { confirm: name }));
  add = (name?: string): Promise<Thing> => json("POST", `${this.path}/objects`, name ? { name } : {});
  object = (id: number): ObjectApi => new ObjectApi(`${this.path}/objects/${id}`);

  async import(files: readonly File[]): Promise<Thing[]> {
    const form = new FormData();
    for (const file of files) form.append("file", file, file.name);
    return json("POST", `${this.path}/objects/import`, form);
  }

  async export(what: { format: string; kind: string; objects: number[] | null }): Promise<[Blob, string]> {
    const response = await ask("POST", `${this.path}/export`, what);
    const said = /filename="?([^";]+)"?/.exec(response.headers.get("Content-Disposition") ?? "");
    return [await response.blob(), said?.[1] ?? `mask.${what.format}`];
  }
}

type Change = Partial<Pick<Thing, "name" | "colour" | "locked" | "visible">>;

/** One object of a volume. */
export class ObjectApi {
  constructor(private readonly path: string) {}

  change = (change: Change): Promise<Thing> => json("PATCH", this.path, change);
  remove = async (): Promise<void> => void (await ask("DELETE", this.path));

  click = (index: Voxel, positive: boolean, axis: Axis): Promise<Answer> =>
    json("POST", `${this.path}/clicks`, { index, positive, axis });
  box = (low: Voxel, high: Voxel, positive: boolean, axis: Axis): Promise<Answer> =>
    json("POST", `${this.path}/boxes`, { low, high, positive, axis });
  scribble = (points: Voxel[], positive: boolean, axis: Axis): Promise<Answer> =>
    json("POST", `${this.path}/scribbles`, { points, positive, axis });
  lasso = (points: Voxel[], positive: boolean, axis: Axis): Promise<Answer> =>
    json("POST", `${this.path}/lassos`, { points, positive, axis });
  stroke = (points: Voxel[], radius_mm: number, erase: boolean, axis: Axis): Promise<Answer> =>
    json("POST", `${this.path}/strokes`, { points, radius_mm, erase, axis });

  sweep = async (): Promise<void> => void (await ask("POST", `${this.path}/sweep`));
  cancel = async (): Promise<void> => void (await ask("DELETE", `${this.path}/sweep`));
  events = (): EventSource => new EventSource(`${BASE}${this.path}/sweep/events`);

  undo = (): Promise<Thing> => json("POST", `${this.path}/undo`);
  redo = (): Promise<Thing> => json("POST", `${this.path}/redo`);
  go = (round: number): Promise<Thing> => json("POST", `${this.path}/rounds/${round}/go`);
  rounds = (): Promise<Round[]> => json("GET", `${this.path}/rounds`);
  quality = (): Promise<Quality> => json("GET", `${this.path}/quality`);
  thumbnail = (round: number): string => `${BASE}${this.path}/rounds/${round}/thumbnail.png`;

  async initialMask(file: File): Promise<Thing> {
    const form = new FormData();
    form.append("file", file, file.name);
    return json("POST", `${this.path}/initial-mask`, form);
  }

  /** The box (half-open) that holds the mask, and its voxels in C order. */
  async mask(): Promise<{ low: Voxel; high: Voxel; block: Uint8Array }> {
    const response = await ask("GET", `${this.path}/mask`);
    const box = (response.headers.get("X-Mask-Box") ?? "0,0,0,0,0,0").split(",").map(Number);
    const block = new Uint8Array(await response.arrayBuffer());
    return { low: [box[0], box[2], box[4]], high: [box[1], box[3], box[5]], block };
  }
}
