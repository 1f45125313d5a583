/**
 * What the user does, as requests, and what comes of them in the store and the label map.
 *
 * Requests that change something run one after the other. A prompt that comes while a sweep runs cancels the sweep
 * first: its prompts stay pending, so the next sweep carries them too.
 */

import * as api from "./api";
import { Problem } from "./api";
import { Changes } from "./changes";
import { readLabels } from "./nifti";
import type { Planes } from "./planes";
import type { Store } from "./store";
import { Sweep } from "./sweep";
import type { Answer, Axis, Thing, Volume, Voxel } from "./types";

export class Annotator extends Changes {
  private volume: api.VolumeApi | null = null;
  private sweep: Sweep | null = null;

  constructor(
    store: Store,
    private readonly planes: Planes,
  ) {
    super(store);
  }

  // Volumes

  /** Open a volume and show it with all its work. */
  async open(which: api.Which | { files: readonly File[] }, name: string): Promise<void> {
    this.stopListening();
    this.store.set({ loading: { text: `Opening ${name}`, fraction: null }, failure: null, notice: null });
    try {
      const volume = "files" in which ? await api.upload(which.files) : await api.open(which);
      await this.show(volume);
    } catch (error) {
      const text = this.wordsOf(error);
      this.store.set({ loading: null, failure: this.store.get("volume") ? null : text });
      if (this.store.get("volume")) this.fail(error);
    }
  }

  /** Load a volume's voxels and its objects. */
  private async show(volume: Volume): Promise<void> {
    this.volume = new api.VolumeApi(volume.id);
    const data = await this.volume.data((fraction) =>
      this.store.set({ loading: { text: `Loading ${volume.name}`, fraction } }),
    );
    const grid = await this.planes.show(volume, data);
    const things = volume.objects ?? (await this.volume.get()).objects ?? [];
    const { low, high } = volume.intensity;
    this.store.set({
      volume,
      things,
      activeId: things.at(-1)?.id ?? null,
      rounds: [],
      quality: null,
      sweep: null,
      loading: null,
      position: volume.shape.map((n) => Math.floor(n / 2)) as Voxel,
      mainPlane: grid.planeOf(volume.sweep_axis),
      window: { low, high, preset: "Full" },
    });
    history.replaceState(null, "", `?volume=${encodeURIComponent(volume.id)}`);
    if (things.length === 0) await this.addObject();
    await this.refreshAll();
    const running = this.store.get("things").find((thing) => thing.sweeping);
    if (running) this.listen(running.id);
  }

  async closeVolume(): Promise<void> {
    await this.do(async () => {
      this.stopListening();
      await this.volume?.close();
      this.forget();
    });
  }

  /** Remove a volume with all its work. */
  async removeVolume(volume: Volume): Promise<void> {
    await this.do(async () => {
      if (this.volume?.id === volume.id) this.forget();
      await new api.VolumeApi(volume.id).remove(volume.name);
      await this.listVolumes();
    });
  }

  async listVolumes(): Promise<void> {
    this.store.set({ volumes: await api.volumes() });
  }

  private forget(): void {
    this.stopListening();
    this.volume = null;
    this.planes.clear();
    this.store.set({ volume: null, things: [], activeId: null, rounds: [], quality: null, sweep: null });
    history.replaceState(null, "", location.pathname);
  }

  /** Fetch everything again: after a restart of the server or a broken connection. */
  async refreshAll(): Promise<void> {
    if (!this.volume) return;
    const volume = await api.open({ id: this.volume.id });
    const things = volume.objects ?? (await this.volume.get()).objects ?? [];
    const isKnown = things.some((thing) => thing.id === this.store.get("activeId"));
    this.store.set({ things, activeId: isKnown ? this.store.get("activeId") : (things.at(-1)?.id ?? null) });
    await this.refreshMasks();
    await this.refreshHistory();
  }

  /** Make the label map what the server has. One object's mask alone is a small box; several need the whole map. */
  private async refreshMasks(): Promise<void> {
    const { labels, grid } = this.planes;
    if (!this.volume || !labels || !grid) return;
    const filled = this.store.get("things").filter((thing) => thing.voxels > 0);
    if (filled.length === 0) {
      labels.clear();
    } else if (filled.length === 1) {
      const { low, high, block } = await this.volume.object(filled[0].id).mask();
      labels.clear();
      labels.setBlock(block, low, high, this.store.slotOf(filled[0].id));
    } else {
      const slots = new Map(this.store.get("things").map((thing, n) => [thing.id, n + 1]));
      labels.setAll(await readLabels(await this.volume.labels()), slots);
    }
    this.planes.drawLabels(true);
    this.store.set({ things: [...this.store.get("things")] }); // the 3D view follows
  }

  /** Rounds and quality of the active object. */
  private async refreshHistory(): Promise<void> {
    const { active } = this.store;
    if (!this.volume || !active) return this.store.set({ rounds: [], quality: null });
    const object = this.volume.object(active.id);
    const [rounds, quality] = await Promise.all([object.rounds(), object.quality()]);
    if (this.store.get("activeId") === active.id) this.store.set({ rounds, quality });
  }

  // Objects

  async addObject(): Promise<void> {
    await this.do(async () => {
      const thing = await this.volume!.add();
      this.store.set({ things: [...this.store.get("things"), thing], activeId: thing.id, rounds: [], quality: null });
    });
  }

  async select(id: number): Promise<void> {
    if (id === this.store.get("activeId")) return;
    this.store.set({ activeId: id, rounds: [], quality: null });
    await this.quietly(() => this.refreshHistory());
  }

  async change(id: number, change: Partial<Pick<Thing, "name" | "colour" | "locked" | "visible">>): Promise<void> {
    await this.do(async () => {
      this.store.update(await this.volume!.object(id).change(change));
      if ("locked" in change) await this.refreshMasks();
    });
  }

  async removeObject(id: number): Promise<void> {
    await this.do(async () => {
      await this.cancelSweep(id);
      await this.volume!.object(id).remove();
      const things = this.store.get("things").filter((thing) => thing.id !== id);
      this.store.set({ things, activeId: things.at(-1)?.id ?? null });
      await this.refreshMasks();
      await this.refreshHistory();
    });
  }

  // Prompts and rounds

  click = (index: Voxel, positive: boolean, axis: Axis): Promise<void> =>
    this.prompt((object) => object.click(index, positive, axis));
  box = (low: Voxel, high: Voxel, positive: boolean, axis: Axis): Promise<void> =>
    this.prompt((object) => object.box(low, high, positive, axis));
  scribble = (points: Voxel[], positive: boolean, axis: Axis): Promise<void> =>
    this.prompt((object) => object.scribble(points, positive, axis));
  lasso = (points: Voxel[], positive: boolean, axis: Axis): Promise<void> =>
    this.prompt((object) => object.lasso(points, positive, axis));
  stroke = (points: Voxel[], radiusMm: number, erase: boolean, axis: Axis): Promise<void> =>
    this.prompt((object) => object.stroke(points, radiusMm, erase, axis));

  private async prompt(send: (object: api.ObjectApi) => Promise<Answer>): Promise<void> {
    const { active } = this.store;
    if (!active) return this.store.say("Add an object first: the + beside Objects.");
    if (active.locked) return this.store.say(`${active.name} is locked: unlock it in the list of objects to change it.`);
    performance.mark("limnet:prompt");
    await this.do(async () => {
      await this.cancelSweep(active.id);
      const { object, slice } = await send(this.volume!.object(active.id));
      this.store.update(object);
      this.drawSlice(active.id, slice, true);
      performance.mark("limnet:preview");
      if (this.store.get("isAutomatic") && this.isLast) await this.startSweep(active.id);
    });
  }

  private drawSlice(id: number, slice: Answer["slice"], isUrgent = false): void {
    const kept = new Set(
      this.store.get("things").flatMap((thing, n) => (thing.locked && thing.id !== id ? [n + 1] : [])),
    );
    this.planes.labels?.setSlice(slice, this.store.slotOf(id), kept);
    this.planes.drawLabels(isUrgent);
  }

  /** Carry the pending prompts through the volume. */
  async carry(): Promise<void> {
    const { active } = this.store;
    if (!active || this.sweep) return;
    if (active.pending.length === 0) return this.store.say("Nothing to carry: click on the object in a slice first.");
    await this.do(() => this.startSweep(active.id));
  }

  private async startSweep(id: number): Promise<void> {
    await this.volume!.object(id).sweep();
    this.listen(id);
  }

  /** Follow a sweep that runs on the server. */
  private listen(id: number): void {
    this.store.set({ sweep: { object: id, done: 0, expected: 0, isCancelling: false } });
    const object = this.volume!.object(id);
    this.sweep = new Sweep(object.events(), {
      slice: (slice, done, expected) => {
        if (done === 1) performance.mark("limnet:first-slice");
        this.drawSlice(id, slice);
        const sweep = this.store.get("sweep");
        if (sweep) this.store.set({ sweep: { ...sweep, done, expected } });
      },
      end: (thing, words) => void this.ended(thing, words),
      lost: () => void this.checkServer(),
    });
  }

  private async ended(thing: Thing | null, words: string | null): Promise<void> {
    performance.mark("limnet:round");
    this.sweep = null;
    if (thing) this.store.update(thing);
    if (words) this.store.set({ notice: { kind: "error", text: words } });
    try {
      await this.refreshMasks();
      await this.refreshHistory();
    } catch (error) {
      this.fail(error);
    }
    if (!this.sweep) this.store.set({ sweep: null }); // else the next prompt's sweep runs already
  }

  /** Stop the sweep that runs, if any; its prompts stay pending. */
  async cancel(): Promise<void> {
    const sweep = this.store.get("sweep");
    if (!sweep || !this.sweep) return;
    this.store.set({ sweep: { ...sweep, isCancelling: true } });
    await this.quietly(() => this.cancelSweep(sweep.object));
    this.store.say("Cancelled. Your prompts are kept: sweep again with Enter.");
  }

  private async cancelSweep(id: number): Promise<void> {
    if (this.store.get("sweep")?.object !== id || !this.sweep) return;
    const ended = this.sweep.ended;
    await this.volume!.object(id)
      .cancel()
      .catch((error: unknown) => {
        if (!(error instanceof Problem && error.status === 409)) throw error; // 409: it has just ended
      });
    await ended;
  }

  undo = (): Promise<void> => this.move((object) => object.undo());
  redo = (): Promise<void> => this.move((object) => object.redo());
  goTo = (round: number): Promise<void> => this.move((object) => object.go(round));

  private async move(send: (object: api.ObjectApi) => Promise<Thing>): Promise<void> {
    const { active } = this.store;
    if (!active) return;
    await this.do(async () => {
      await this.cancelSweep(active.id);
      this.store.update(await send(this.volume!.object(active.id)));
      await this.refreshMasks();
      await this.refreshHistory();
    });
  }

  /** Add an object for every structure of a segmentation that is in these files. */
  async import(files: readonly File[]): Promise<void> {
    await this.do(async () => {
      const added = await this.volume!.import(files);
      this.store.set({ things: [...this.store.get("things"), ...added], activeId: added[0]!.id, rounds: [], quality: null });
      await this.refreshMasks();
      await this.refreshHistory();
      this.store.say(`Added ${added.length === 1 ? added[0]!.name : `${added.length} objects`} from ${files[0]!.name}.`);
    });
  }

  async startFrom(file: File): Promise<void> {
    const { active } = this.store;
    if (active) await this.move(() => this.volume!.object(active.id).initialMask(file));
  }

  thumbnail(round: number): string {
    const { active } = this.store;
    return active && this.volume ? this.volume.object(active.id).thumbnail(round) : "";
  }

  async export(what: { format: string; kind: string; objects: number[] | null }): Promise<[Blob, string] | null> {
    try {
      return await this.volume!.export(what);
    } catch (error) {
      this.fail(error);
      return null;
    }
  }

  // The connection

  /** Whether the server answers, and whether it is still the same one; a new one is asked for everything again. */
  async checkServer(): Promise<void> {
    try {
      const about = await api.about();
      const before = this.store.get("about");
      const wasOffline = !this.store.get("isOnline");
      const isSame = before && JSON.stringify(before) === JSON.stringify(about);
      this.store.set({ about: isSame ? before : about, isOnline: true, isKeyNeeded: false });
      if (before && (wasOffline || before.server_id !== about.server_id)) await this.recover(before.server_id !== about.server_id);
      else if (this.sweep?.isLost) await this.recover(false);
    } catch (error) {
      this.fail(error);
    }
  }

  /** Show a key to the server; it answers with a cookie. */
  async login(key: string): Promise<void> {
    try {
      await api.login(key);
      location.reload();
    } catch (error) {
      this.store.set({ failure: this.wordsOf(error) });
    }
  }

  private async recover(isRestarted: boolean): Promise<void> {
    this.stopListening();
    await this.refreshAll();
    const running = this.store.get("things").find((thing) => thing.sweeping);
    if (running) this.listen(running.id);
    this.store.say(
      isRestarted
        ? "The server was restarted. All your work is here; a sweep that was running can be started again."
        : "Connected again. All your work is here.",
    );
  }

  private stopListening(): void {
    this.sweep?.close();
    this.sweep = null;
    this.store.set({ sweep: null });
  }
}
