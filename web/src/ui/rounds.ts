/** The rounds of the active object, from the start to now; any of them can be gone back to, and forward again. */

import type { Annotator } from "../annotator";
import { h } from "../dom";
import type { Store } from "../store";
import type { Round } from "../types";

export function rounds(store: Store, annotator: Annotator): HTMLElement {
  const list = h("ol", { class: "rounds" });
  const section = h("section", { class: "card grow", "aria-labelledby": "rounds-title" });
  section.append(h("header", {}, h("h2", { id: "rounds-title" }, "Rounds")), list);
  store.watch(["rounds", "activeId", "volume", "sweep", "things"], () => {
    section.hidden = store.get("volume") === null;
    const all = store.get("rounds");
    const now = all.filter((round) => !round.is_undone).length;
    const isBusy = store.get("sweep") !== null;
    const pending = store.active?.pending.length ?? 0;
    if (all.length === 0) {
      const waiting = `${pending} prompt${pending === 1 ? " waits" : "s wait"}: sweep with Enter.`;
      const start = "Click on the object in any slice. Each sweep adds a round here.";
      const words = isBusy ? "The first round is under way." : pending ? waiting : start;
      list.replaceChildren(h("li", { class: "hint" }, words));
      return;
    }
    const items = [start(now === 0 && !pending, annotator, isBusy)];
    for (const round of all) items.push(item(round, round.number === now, annotator, isBusy));
    list.replaceChildren(...items.reverse());
  });
  return section;
}

function start(isNow: boolean, annotator: Annotator, isBusy: boolean): HTMLElement {
  return h(
    "li",
    {},
    h(
      "button",
      { type: "button", class: "round start", disabled: isBusy, "aria-current": isNow ? "step" : null, onclick: () => void annotator.goTo(0) },
      h("span", { class: "round-text" }, h("b", {}, "Start"), h("span", {}, "Nothing segmented")),
    ),
  );
}

function item(round: Round, isNow: boolean, annotator: Annotator, isBusy: boolean): HTMLElement {
  const image = h("img", { src: `${annotator.thumbnail(round.number)}?v=${round.num_slices}-${round.seconds}`, alt: "", loading: "lazy", width: 64, height: 64 });
  const quality = round.mean_quality === null ? "" : ` · quality ${round.mean_quality.toFixed(2)}`;
  const prompts = `${round.prompts.length} prompt${round.prompts.length === 1 ? "" : "s"}`;
  const seconds = round.seconds === null ? "" : ` · ${round.seconds.toFixed(1)} s`;
  return h(
    "li",
    {},
    h(
      "button",
      {
        type: "button",
        class: round.is_undone ? "round is-undone" : "round",
        disabled: isBusy,
        "aria-current": isNow ? "step" : null,
        title: round.is_undone ? `Forward to round ${round.number}` : `Back to round ${round.number}`,
        onclick: () => void annotator.goTo(round.number),
      },
      image,
      h(
        "span",
        { class: "round-text" },
        h("b", {}, `Round ${round.number}`),
        h("span", {}, `${prompts} · ${round.num_slices} slices`),
        h("span", {}, `${seconds.slice(3)}${quality}`.replace(/^ · /, "")),
      ),
    ),
  );
}
