/** Elements in one expression. */

type Child = Node | string | null | false | undefined;
type Listener = (event: never) => void;
type Attributes = Record<string, string | number | boolean | null | undefined | Listener>;

/** An element; attributes named on… are listeners, true and false are presence. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value as EventListener);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, String(value));
  }
  element.append(...children.filter((child): child is Node | string => Boolean(child)));
  return element;
}

/** The element of index.html with this id. */
export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

const SVG = "http://www.w3.org/2000/svg";

/** An SVG element. */
export function svg(tag: string, attributes: Record<string, string | number>, ...children: Node[]): SVGElement {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

const PATHS: Record<string, string> = {
  navigate: "M12 3v18M3 12h18M12 3l-2.5 2.5M12 3l2.5 2.5M12 21l-2.5-2.5M12 21l2.5-2.5M3 12l2.5-2.5M3 12l2.5 2.5M21 12l-2.5-2.5M21 12l-2.5 2.5",
  click: "M12 8.5v7M8.5 12h7M12 3a9 9 0 1 0 0 18a9 9 0 1 0 0-18",
  box: "M4 7V4h3M17 4h3v3M20 17v3h-3M7 20H4v-3M9 4h6M9 20h6M4 9v6M20 9v6",
  scribble: "M3 17c3-9 6-12 7-9s-4 8-1 8s5-8 7-7s-1 6 1 6s3-2 4-4",
  lasso: "M12 4c5 0 9 2.5 9 6s-4 6-9 6s-9-2.5-9-6s4-6 9-6M7 15.5c-1.5 1-1.5 3 0 3.5s2 1.500 1 2.500",
  brush: "M14.500 9.500L20 4M9 13c2-.5 4 1.500 3.500 3.500C12 19 9 20.500 4 20c1.500-1 1.500-2.500 2-4.500S7.500 13.300 9 13M12.500 10.500l2 2",
  eraser: "M8 20h12M5.500 14.500l9-9a2 2 0 0 1 2.800 0l2.700 2.700a2 2 0 0 1 0 2.800L12 19l-1 1H8l-2.500-2.500a2 2 0 0 1 0-3M10 10l5.500 5.500",
  undo: "M8 5L4 9l4 4M4 9h10a5.500 5.500 0 0 1 0 11H9",
  redo: "M16 5l4 4l-4 4M20 9H10a5.500 5.500 0 0 0 0 11h5",
  sweep: "M4 8h16M7 4h10M4 12h16M7 16h10M9 20h6",
  stop: "M7 7h10v10H7z",
  eye: "M2.500 12C5 7.500 8.500 5.500 12 5.500S19 7.500 21.500 12C19 16.500 15.500 18.500 12 18.500S5 16.500 2.500 12M12 9a3 3 0 1 0 0 6a3 3 0 1 0 0-6",
  "eye-off": "M4 4l16 16M9.500 5.900A9 9 0 0 1 12 5.500c3.500 0 7 2 9.500 6.500a15 15 0 0 1-3 3.700M6 7.500A14 14 0 0 0 2.500 12c2.500 4.500 6 6.500 9.500 6.500c1.300 0 2.600-.3 3.800-.8",
  lock: "M6 11h12v9H6zM8.500 11V8a3.500 3.500 0 0 1 7 0v3",
  unlock: "M6 11h12v9H6zM8.500 11V8a3.500 3.500 0 0 1 6.800-1.200",
  bin: "M5 7h14M10 7V4.500h4V7M7 7l.8 12.500h8.400L17 7M10.500 10.500v5.500M13.500 10.500v5.500",
  plus: "M12 5v14M5 12h14",
  folder: "M3.500 6.500h6l2 2.500h9v10h-17z",
  file: "M6.500 3.500h7l4 4v13h-11zM13.500 3.500v4h4",
  download: "M12 4v11M7.500 11l4.500 4.500l4.500-4.500M5 20h14",
  upload: "M12 16V5M7.500 9L12 4.500L16.500 9M5 20h14",
  help: "M12 3a9 9 0 1 0 0 18a9 9 0 1 0 0-18M9.500 9.500a2.500 2.500 0 1 1 3.800 2.100c-.9.6-1.300 1-1.300 2.100M12 16.800v.2",
  theme: "M12 3a9 9 0 1 0 0 18zM12 3a9 9 0 0 1 0 18",
  close: "M6 6l12 12M18 6L6 18",
  expand: "M14 4h6v6M10 20H4v-6M20 4l-7 7M4 20l7-7",
  next: "M5 5l9 7l-9 7zM18 5v14",
  check: "M5 12.500l4.500 4.500L19 7.500",
  up: "M12 19V6M6.500 11L12 5.500L17.500 11",
};

/** A line icon of 20 px; decoration only, its button has the words. */
export function icon(name: string): SVGElement {
  return svg("svg", { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" }, svg("path", { d: PATHS[name] }));
}

/** A button that shows an icon and says `label`. */
export function iconButton(name: string, label: string, run: () => void, extra: Attributes = {}): HTMLButtonElement {
  const button = h("button", { type: "button", class: "icon-button", "aria-label": label, title: label, onclick: run, ...extra });
  button.append(icon(name));
  return button;
}
