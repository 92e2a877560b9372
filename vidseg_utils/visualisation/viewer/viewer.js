// The mask viewer: one ES module without imports, so that a notebook and a page from disk can carry it inline.
//
// createViewer(element, data, options) draws a packed clip into an element of any page. `data` is what the Python
// function `pack_clip` returns; its docstring describes every field. The default export is what anywidget calls.

const NO_MASK = 254; // in a mask: this frame has none
const NO_LABEL = 255; // in a mask: this pixel has no label
const MISSED = 2, INVENTED = 3, WRONG_CLASS = 4, NOT_JUDGED = 5; // kinds of pixels, numbered as in data.errors
const MAX_ZOOM = 8;
const HOLD_SECONDS = 0.8; // playing rests on the last frame before it starts again
const MAX_CHIPS = 12; // classes in the legend; a button shows the rest, mostly of single wrong pixels
const SPEEDS = [0.25, 0.5, 1, 2, 4];

const STYLE = `
.vidseg {
  --vs-paper: #ffffff; --vs-well: #f3f4f6; --vs-ink: #1c2128; --vs-soft: #5b6470; --vs-line: #d5d9df;
  --vs-tint: #1668b8; --vs-on-tint: #ffffff; --vs-past: #8a939e; --vs-future: #b25a00;
}
@media (prefers-color-scheme: dark) { .vidseg {
  --vs-paper: #16191d; --vs-well: #22262c; --vs-ink: #e6e9ed; --vs-soft: #a3acb7; --vs-line: #383e46;
  --vs-tint: #6cb2f5; --vs-on-tint: #0c1116; --vs-past: #7d8794; --vs-future: #f0a04b;
} }
[data-jp-theme-light="true"] .vidseg, .vidseg[data-theme="light"] {
  --vs-tint: #1668b8; --vs-on-tint: #ffffff; --vs-past: #8a939e; --vs-future: #b25a00;
}
[data-jp-theme-light="false"] .vidseg, .vidseg[data-theme="dark"] {
  --vs-tint: #6cb2f5; --vs-on-tint: #0c1116; --vs-past: #7d8794; --vs-future: #f0a04b;
}
.vidseg {
  --paper: var(--jp-layout-color1, var(--vscode-editor-background, var(--colab-primary-surface-color, var(--vs-paper))));
  --well: var(--jp-layout-color2, var(--vs-well));
  --ink: var(--jp-ui-font-color1, var(--vscode-editor-foreground, var(--colab-primary-text-color, var(--vs-ink))));
  --soft: var(--jp-ui-font-color2, var(--vscode-descriptionForeground, var(--vs-soft)));
  --line: var(--jp-border-color2, var(--vscode-panel-border, var(--vs-line)));
  --tint: var(--vs-tint);
  box-sizing: border-box; width: 100%; padding: 12px 14px; border: 1px solid var(--line); border-radius: 8px;
  background: var(--paper); color: var(--ink); text-align: left;
  font: 13px/1.4 var(--jp-ui-font-family, system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif);
}
.vidseg *, .vidseg *::before { box-sizing: border-box; }
.vidseg [hidden] { display: none !important; }
.vidseg-head { display: flex; flex-wrap: wrap; align-items: baseline; gap: 2px 12px; margin: 0 0 8px; min-height: 20px; }
.vidseg-title { font-weight: 600; font-size: 14px; }
.vidseg-when { margin-left: auto; font-variant-numeric: tabular-nums; color: var(--soft); }
.vidseg-when b { color: var(--ink); font-weight: 600; }
.vidseg-when[data-future="true"] span { color: var(--vs-future); font-weight: 600; }
.vidseg-body { display: flex; flex-wrap: wrap; gap: 12px 16px; align-items: flex-start; }
.vidseg-main { flex: 1 1 500px; min-width: 0; }
.vidseg-panels { display: grid; gap: 12px; 
  grid-template-columns: repeat(auto-fill, minmax(max(200px, (100% - 12px * (var(--columns) - 1)) / var(--columns)), 1fr)); }
.vidseg-panel { margin: 0; min-width: 0; }
.vidseg-panel figcaption { display: flex; align-items: baseline; gap: 8px; margin-bottom: 4px; min-height: 18px; }
.vidseg-panel figcaption b { font-weight: 600; }
.vidseg-panel figcaption span { margin-left: auto; color: var(--soft); font-variant-numeric: tabular-nums; }
.vidseg-screen { position: relative; border-radius: 4px; overflow: hidden; background: #2b2e33; line-height: 0; }
.vidseg-screen canvas { display: block; width: 100%; touch-action: pan-y; }
.vidseg-screen::after {
  content: ""; position: absolute; inset: 0; border-radius: 4px; pointer-events: none;
  box-shadow: inset 0 0 0 1px rgba(128, 128, 128, .35);
}
.vidseg[data-future="true"] .vidseg-screen::after { box-shadow: inset 0 0 0 2px var(--vs-future); }
.vidseg-absent {
  position: absolute; left: 8px; bottom: 8px; padding: 2px 7px; border-radius: 4px; pointer-events: none;
  background: rgba(20, 22, 26, .78); color: #fff; font-size: 12px; line-height: 1.4;
}
.vidseg-tip {
  position: absolute; z-index: 2; max-width: 92%; padding: 4px 8px; border-radius: 5px; pointer-events: none;
  background: rgba(20, 22, 26, .92); color: #fff; font-size: 12px; line-height: 1.4; white-space: nowrap;
}
.vidseg-tip i, .vidseg-chip i {
  display: inline-block; width: 11px; height: 11px; margin-right: 6px; border-radius: 3px; vertical-align: -1px;
  background: var(--swatch); box-shadow: inset 0 0 0 1px rgba(128, 128, 128, .55);
}
.vidseg-tip small { display: block; font-size: 11.5px; opacity: .82; }
.vidseg-plan { display: block; width: 100%; border-radius: 4px; background: var(--well); border: 1px solid var(--line); }
.vidseg-plan polygon { fill: var(--paper); stroke: var(--line); stroke-width: .03; }
.vidseg-plan text { font-size: .34px; fill: var(--soft); }
.vidseg-row { display: flex; flex-wrap: wrap; align-items: center; gap: 6px 10px; margin-top: 10px; }
.vidseg button, .vidseg select, .vidseg input { font: inherit; color: inherit; margin: 0; }
.vidseg button {
  display: inline-flex; align-items: center; justify-content: center; min-height: 28px; padding: 2px 9px; cursor: pointer;
  border: 1px solid var(--line); border-radius: 5px; background: var(--paper); color: var(--ink);
}
.vidseg button:hover, .vidseg select:hover { border-color: var(--soft); }
.vidseg button:disabled { opacity: .45; cursor: default; border-color: var(--line); }
.vidseg :focus-visible { outline: 2px solid var(--tint); outline-offset: 2px; }
.vidseg select, .vidseg input[type="number"] {
  min-height: 28px; padding: 2px 6px; border: 1px solid var(--line); border-radius: 5px; background: var(--paper);
}
.vidseg input[type="number"] { width: 5.5em; }
.vidseg button svg { width: 14px; height: 14px; fill: currentColor; }
.vidseg button.vidseg-play { width: 36px; height: 32px; padding: 0; background: var(--tint); border-color: var(--tint); }
.vidseg button.vidseg-play { color: var(--vs-on-tint); }
.vidseg button.vidseg-step { width: 28px; padding: 0; }
.vidseg-scrub { flex: 1 1 160px; min-width: 110px; }
.vidseg-scrub input, .vidseg-field input[type="range"] {
  -webkit-appearance: none; appearance: none; display: block; width: 100%; height: 20px; background: none; cursor: pointer;
}
.vidseg-scrub input::-webkit-slider-runnable-track { height: 6px; border-radius: 3px; background: var(--track); }
.vidseg-scrub input::-moz-range-track { height: 6px; border-radius: 3px; background: var(--track); }
.vidseg-field input::-webkit-slider-runnable-track { height: 4px; border-radius: 2px; background: var(--line); }
.vidseg-field input::-moz-range-track { height: 4px; border-radius: 2px; background: var(--line); }
.vidseg input[type="range"]::-webkit-slider-thumb {
  -webkit-appearance: none; width: 16px; height: 16px; margin-top: -5px; border-radius: 50%;
  background: var(--tint); border: 2px solid var(--paper); box-shadow: 0 0 0 1px var(--tint);
}
.vidseg-field input[type="range"]::-webkit-slider-thumb { margin-top: -6px; }
.vidseg input[type="range"]::-moz-range-thumb {
  width: 12px; height: 12px; border-radius: 50%; background: var(--tint); border: 2px solid var(--paper);
  box-shadow: 0 0 0 1px var(--tint);
}
.vidseg-scale { display: flex; padding: 0 8px; font-size: 11.5px; line-height: 1.3; color: var(--soft); white-space: nowrap; }
.vidseg-scale span { overflow: hidden; text-overflow: ellipsis; }
.vidseg-scale .vidseg-ahead { color: var(--vs-future); text-align: right; }
.vidseg-field { display: inline-flex; align-items: center; gap: 7px; color: var(--soft); white-space: nowrap; }
.vidseg-field input[type="range"] { width: 72px; }
.vidseg-choice { display: inline-flex; }
.vidseg-choice button { border-radius: 0; margin-left: -1px; }
.vidseg-choice button:first-child { border-radius: 5px 0 0 5px; margin-left: 0; }
.vidseg-choice button:last-child { border-radius: 0 5px 5px 0; }
.vidseg-choice button:only-child { border-radius: 5px; }
.vidseg-choice button[aria-pressed="true"] {
  position: relative; z-index: 1; color: var(--tint); border-color: var(--tint); font-weight: 600;
  background: color-mix(in srgb, var(--tint) 12%, var(--paper));
}
.vidseg-legend { display: flex; flex-wrap: wrap; gap: 4px; align-items: center; }
.vidseg-body > .vidseg-legend { flex: 0 1 178px; flex-direction: column; align-items: stretch; }
.vidseg-legend h4 { margin: 0 4px 0 0; font-size: 12px; font-weight: 600; color: var(--soft); }
.vidseg button.vidseg-chip {
  justify-content: flex-start; min-height: 26px; padding: 1px 8px 1px 7px; border-color: transparent; background: none;
  text-align: left;
}
.vidseg button.vidseg-chip:hover { background: var(--well); }
.vidseg button.vidseg-chip[aria-pressed="false"] { color: var(--soft); text-decoration: line-through; }
.vidseg button.vidseg-chip[aria-pressed="false"] i { background: none; }
.vidseg button.vidseg-chip[data-absent="true"] { opacity: .5; }
.vidseg button.vidseg-more { color: var(--soft); }
.vidseg-chip.vidseg-kind { display: inline-flex; padding: 1px 8px 1px 7px; white-space: nowrap; }
.vidseg-chip.vidseg-kind i { align-self: center; }
.vidseg-chip output { margin-left: 6px; color: var(--soft); font-variant-numeric: tabular-nums; }
.vidseg-row.vidseg-browse { margin: 0 0 10px; padding-bottom: 10px; border-bottom: 1px solid var(--line); }
.vidseg-browse output { color: var(--soft); font-variant-numeric: tabular-nums; }
.vidseg[data-busy="true"] .vidseg-main { opacity: .55; transition: opacity .15s .15s; }
.vidseg button.vidseg-keys { min-height: 22px; padding: 0 7px; margin-left: auto; color: var(--soft); border-color: transparent; background: none; }
.vidseg-help { margin: 6px 0 0; color: var(--soft); }
.vidseg-help kbd {
  padding: 0 5px; border: 1px solid var(--line); border-radius: 4px; font: 11.5px var(--jp-code-font-family, ui-monospace, monospace);
}
@media print { .vidseg-row, .vidseg-browse, .vidseg-keys { display: none !important; } }
`;

const ICONS = {
  play: "M3 1.5v11l9-5.5z", pause: "M3 1.5h3v11H3zM8 1.5h3v11H8z",
  back: "M9.5 1.5v11L3 7z", forward: "M4.5 1.5v11L11 7z",
};

/** A DOM element with attributes, event handlers (on…) and children. */
function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function makeSvg(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function icon(name) {
  return makeSvg("svg", { viewBox: "0 0 14 14", "aria-hidden": "true" }, makeSvg("path", { d: ICONS[name] }));
}

/**
 * Objects seen from above: their forecast paths in colour, the possible ends as a cloud of dots, the true paths in grey.
 * returns: { figure, move(frame) }; `move` shows where the objects are in a frame: forecast filled, true as a ring
 */
function makePlan(plan) {
  const line = (points, colour, dash) => makeSvg("polyline", { points: points.join(" "), fill: "none", stroke: colour,
    "stroke-width": 0.07, "stroke-linejoin": "round", ...(dash ? { "stroke-dasharray": ".16 .12" } : {}) });
  const svg = makeSvg("svg", { class: "vidseg-plan", viewBox: "-4.8 -3.2 9.6 6.4", role: "img",
    "aria-label": `${plan.title}, the ground from above` }, makeSvg("polygon", { points: plan.view.join(" ") }));
  const rings = [], dots = [];
  for (const { colour, truth = [], forecast = [], cloud = [] } of plan.objects) {
    svg.append(line(truth, "#8a939e", true), line(forecast, colour));
    for (const [cx, cy] of cloud) svg.append(makeSvg("circle", { cx, cy, r: 0.07, fill: colour, "fill-opacity": 0.45 }));
    const ring = makeSvg("circle", { r: 0.24, fill: "none", stroke: "#8a939e", "stroke-width": 0.08 });
    const dot = makeSvg("circle", { r: 0.17, fill: colour, stroke: "#ffffff", "stroke-width": 0.04 });
    svg.append(ring, dot);
    rings.push([ring, truth, 0]);
    dots.push([dot, forecast, plan.first]);
  }
  const figure = make("figure", { class: "vidseg-panel" }, make("figcaption", {}, make("b", {}, plan.title),
    make("span", {}, "from above; ring and dashes: truth")), svg);
  return { figure, move(frame) {
    for (const [mark, path, first] of [...rings, ...dots]) {
      const point = path[frame - first];
      mark.style.display = point ? "" : "none";
      if (point) { mark.setAttribute("cx", point[0]); mark.setAttribute("cy", point[1]); }
    }
  } };
}

function decodeBase64(text) {
  const binary = atob(text), bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** "#rrggbb" -> the 32 bits of an opaque pixel as canvases store it: alpha, blue, green, red. */
function pixel(colour, alpha = 255) {
  const rgb = parseInt(colour.slice(1), 16);
  return ((alpha << 24) | ((rgb & 255) << 16) | (rgb & 0xff00) | (rgb >> 16)) >>> 0;
}

/** Whether a key is meant for the notebook also while the focus is inside a widget: Ctrl+S, Shift+Enter and the like. */
const isForNotebook = (event) =>
  event.ctrlKey || event.metaKey || event.altKey || (event.shiftKey && event.key === "Enter");

/**
 * Keep all other keys inside a widget from the shortcuts of JupyterLab, which some hosts look up before the widget is
 * told of a key. Returns a function that ends it.
 */
function keepKeys(root) {
  const mark = (event) => root.toggleAttribute("data-lm-suppress-shortcuts", !isForNotebook(event));
  window.addEventListener("keydown", mark, true);
  return () => window.removeEventListener("keydown", mark, true);
}

/** Pictures and masks of a packed clip, ready to draw. */
async function unpack(data) {
  const images = {}, masks = {};
  const decode = (text) => createImageBitmap(new Blob([decodeBase64(text)], { type: "image/webp" }));
  await Promise.all([
    ...Object.entries(data.images).map(async ([name, list]) => { images[name] = await Promise.all(list.map(decode)); }),
    ...Object.entries(data.masks).map(async ([name, text]) => {
      const bytes = await inflate(decodeBase64(text)), area = data.width * data.height;
      masks[name] = Array.from({ length: data.frames }, (_, t) => bytes.subarray(t * area, (t + 1) * area));
    }),
  ]);
  return { images, masks };
}

/** The sides of pixels at which each class begins or ends: Map of class id -> Path2D, in pixels of the picture. */
function findOutlines(mask, width, height) {
  const outlines = new Map();
  const add = (id, x0, y0, x1, y1) => {
    if (id === 0 || id >= NO_MASK) return;
    if (!outlines.has(id)) outlines.set(id, new Path2D());
    const path = outlines.get(id);
    path.moveTo(x0, y0);
    path.lineTo(x1, y1);
  };
  // Equal neighbouring sides are joined to one line: `begin` is where it starts, a and b the classes on its two sides.
  const scan = (length, first, second, emit) => {
    let begin = 0, a = 0, b = 0;
    for (let i = 0; i <= length; i++) {
      const nextA = i < length ? first(i) : 0, nextB = i < length ? second(i) : 0;
      if (nextA === a && nextB === b) continue;
      if (a !== b) { emit(a, begin, i); emit(b, begin, i); }
      [begin, a, b] = [i, nextA, nextB];
    }
  };
  for (let y = 1; y < height; y++) {
    const above = (y - 1) * width, below = y * width;
    scan(width, (x) => mask[above + x], (x) => mask[below + x], (id, from, to) => add(id, from, y, to, y));
  }
  for (let x = 1; x < width; x++) {
    scan(height, (y) => mask[y * width + x - 1], (y) => mask[y * width + x], (id, from, to) => add(id, x, from, x, to));
  }
  return outlines;
}

/** The kind of each pixel of a mask, numbered as in data.errors; a class in `hidden` counts as right background. */
function classifyErrors(mask, truth, hidden, out) {
  for (let i = 0; i < out.length; i++) {
    const is = mask[i], should = truth[i];
    if (hidden.size && hidden.has(should || is)) out[i] = 0;
    else if (should === NO_LABEL) out[i] = NOT_JUDGED;
    else if (is === should) out[i] = is ? 1 : 0;
    else out[i] = !is ? MISSED : !should ? INVENTED : WRONG_CLASS;
  }
}

/**
 * Draw a packed clip into an element. It works on any page, also several times, and asks nothing of the network.
 *
 * data: see `pack_clip`; options: frame (shown first), show (what the buttons "show" choose at first: a mask's name,
 * "errors: NAME" or "frames"; with several panels "masks", "errors" or "frames"), style ("fill" or "contour"),
 * opacity (0 to 1), onFrame (called with the frame's number)
 * returns: { element, ready, frame, showFrame(n), play(), pause(), update(data), destroy() }; `ready` is a promise
 */
export function createViewer(element, data, options = {}) {
  const state = {
    frame: 0, show: null, style: options.style ?? "fill", opacity: options.opacity ?? 0.5, speed: 1, playing: false,
    hidden: new Set(), marked: 0, zoom: 1, x: 0, y: 0,
  };
  let clip = null, panels = [], plans = [], dead = false, generation = 0, timer = 0;
  const outlines = new Map(); // "mask name, frame" -> outlines by class

  // ---- the parts of the page ----------------------------------------------------------------------------------------

  const title = make("span", { class: "vidseg-title" });
  const when = make("span", { class: "vidseg-when" });
  const panelBox = make("div", { class: "vidseg-panels" });
  const legend = make("div", { class: "vidseg-legend", role: "group", "aria-label": "classes" });
  const kinds = make("div", { class: "vidseg-legend", role: "group", "aria-label": "kinds of errors" });
  const playButton = make("button", { type: "button", class: "vidseg-play", onclick: () => toggle() });
  const slider = make("input", {
    type: "range", min: 0, step: 1, "aria-label": "frame", oninput: () => { pause(); showFrame(+slider.value); },
  });
  const past = make("span"), ahead = make("span", { class: "vidseg-ahead" });
  const scale = make("div", { class: "vidseg-scale", "aria-hidden": "true" }, past, ahead);
  const speed = make("select", { "aria-label": "speed", onchange: () => { state.speed = +speed.value; } },
    ...SPEEDS.map((value) => make("option", { value, selected: value === 1 }, `${value}× speed`)));
  const show = make("div", { class: "vidseg-choice", role: "group", "aria-label": "show" });
  const styleButtons = ["fill", "contour"].map((name) =>
    make("button", { type: "button", "data-value": name, onclick: () => { state.style = name; refresh(); } }, name));
  const opacity = make("input", {
    type: "range", min: 0, max: 1, step: 0.05, value: state.opacity, "aria-label": "opacity of the masks",
    oninput: () => { state.opacity = +opacity.value; refresh(); },
  });
  const zoomButtons = [["−", "zoom out", 1 / 1.5], ["1×", "whole picture", 0], ["+", "zoom in", 1.5]].map(
    ([text, label, factor]) => make("button", { type: "button", "aria-label": label, title: label,
      onclick: () => zoomBy(factor) }, text));
  const help = make("p", { class: "vidseg-help", hidden: true });
  const keysButton = make("button", { type: "button", class: "vidseg-keys", "aria-expanded": "false",
    onclick: () => { help.hidden = !help.hidden; keysButton.setAttribute("aria-expanded", String(!help.hidden)); } }, "keys");
  for (const [key, meaning] of [["space", "play or pause"], ["← →", "frame"], ["home end", "first, last"],
    ["s", "what is shown"], ["c", "contour or fill"], ["+ − 0", "zoom"]]) help.append(make("kbd", {}, key), ` ${meaning}   `);
  help.append("Drag moves an enlarged picture; a double click enlarges. Click a class to hide it, Alt-click to see only it.");

  const main = make("div", { class: "vidseg-main" },
    panelBox,
    make("div", { class: "vidseg-row" },
      playButton,
      make("button", { type: "button", class: "vidseg-step", "aria-label": "previous frame", title: "previous frame",
        onclick: () => step(-1) }, icon("back")),
      make("button", { type: "button", class: "vidseg-step", "aria-label": "next frame", title: "next frame",
        onclick: () => step(1) }, icon("forward")),
      make("div", { class: "vidseg-scrub" }, slider, scale),
      speed,
      make("div", { class: "vidseg-choice", role: "group", "aria-label": "zoom" }, ...zoomButtons)),
    make("div", { class: "vidseg-row" },
      show,
      make("div", { class: "vidseg-choice", role: "group", "aria-label": "drawn as" }, ...styleButtons),
      make("label", { class: "vidseg-field" }, "opacity", opacity),
      keysButton),
    help);
  const body = make("div", { class: "vidseg-body" }, main);
  const root = make("section", {
    class: "vidseg", tabindex: 0, "aria-label": "mask viewer", onkeydown: onKey,
  }, make("style", {}, STYLE), make("div", { class: "vidseg-head" }, title, when), body);
  element.append(root);
  const releaseKeys = keepKeys(root);

  // ---- drawing -------------------------------------------------------------------------------------------------------

  /** Names of the masks that a panel shows now: the drawn one, and the one it is compared with or null. */
  function shownMask(panel) {
    if (state.show === "frames") return [null, null];
    if (panels.length > 1) return [panel.mask, state.show === "errors" && panel.mask !== data.truth ? data.truth : null];
    return state.show.startsWith("errors: ") ? [state.show.slice(8), data.truth] : [state.show, null];
  }

  function maskOf(name) {
    const mask = name && clip.masks[name]?.[state.frame];
    return mask && mask[0] !== NO_MASK ? mask : null;
  }

  function outlinesOf(name) {
    const key = `${name},${state.frame}`;
    if (!outlines.has(key)) outlines.set(key, findOutlines(maskOf(name), data.width, data.height));
    return outlines.get(key);
  }

  function strokeOutline(panel, path, colour, size) {
    const { context } = panel, unit = panel.canvas.width / panel.canvas.clientWidth / panel.scale; // one CSS pixel
    context.strokeStyle = "rgba(255, 255, 255, .92)";
    context.lineWidth = (size + 1.6) * unit;
    context.stroke(path);
    context.strokeStyle = colour;
    context.lineWidth = size * unit;
    context.stroke(path);
  }

  function draw(panel) {
    const { canvas, context, paint } = panel, { width, height } = data;
    const [name, against] = shownMask(panel), mask = maskOf(name), truth = maskOf(against);
    const compares = Boolean(against) && Boolean(mask) && Boolean(truth);
    panel.scale = (canvas.width / width) * state.zoom;
    context.setTransform(panel.scale, 0, 0, panel.scale, -state.x * panel.scale, -state.y * panel.scale);
    context.globalAlpha = 1;
    context.lineCap = "square";
    context.fillStyle = "#2b2e33";
    context.fillRect(0, 0, width, height);
    const picture = clip.images[panel.images]?.[state.frame];
    if (compares) context.globalAlpha = 0.4;
    context.imageSmoothingEnabled = true;
    if (picture) context.drawImage(picture, 0, 0, width, height);
    context.globalAlpha = 1;
    if (compares) {
      classifyErrors(mask, truth, state.hidden, panel.kinds);
      for (let i = 0; i < panel.kinds.length; i++) paint.words[i] = clip.errorPixels[panel.kinds[i]];
    } else if (mask && state.style === "fill") {
      for (let i = 0; i < mask.length; i++) paint.words[i] = clip.classPixels[mask[i]];
    }
    if (compares || (mask && state.style === "fill")) {
      paint.context.putImageData(paint.image, 0, 0);
      context.imageSmoothingEnabled = false;
      context.globalAlpha = compares ? 1 : state.opacity;
      context.drawImage(paint.canvas, 0, 0);
      context.globalAlpha = 1;
    }
    if (mask && !compares && (state.style === "contour" || state.opacity > 0)) {
      if (state.style === "contour") context.globalAlpha = Math.min(1, 2 * state.opacity);
      for (const [id, path] of outlinesOf(name)) {
        if (state.hidden.has(id)) continue;
        if (state.style === "contour") strokeOutline(panel, path, clip.colours[id] ?? "#fff", 1.6);
        else {
          context.strokeStyle = `rgba(255, 255, 255, ${0.8 * Math.min(1, 2 * state.opacity)})`;
          context.lineWidth = panel.canvas.width / panel.canvas.clientWidth / panel.scale;
          context.stroke(path);
        }
      }
      context.globalAlpha = 1;
    }
    if (state.marked && mask) {
      const path = outlinesOf(name).get(state.marked);
      if (path) strokeOutline(panel, path, "#111", 2.4);
    }
    panel.absent.hidden = !name || Boolean(mask) && (!against || Boolean(truth));
    if (!panel.absent.hidden) panel.absent.textContent = mask ? "no true mask of this frame" : `${name}: no mask of this frame`;
  }

  function describeFrame() {
    const number = data.first + state.frame, beyond = number - data.past + 1;
    return beyond > 0 ? `frame ${number}, ${beyond} ahead` : `frame ${number}, given`;
  }

  function drawAll() {
    if (!clip) return;
    panels.forEach(draw);
    plans.forEach((plan) => plan.move(data.first + state.frame));
    const text = describeFrame(), future = data.first + state.frame >= data.past;
    root.dataset.future = when.dataset.future = String(future);
    const [frame, position] = text.split(", ");
    when.replaceChildren(make("b", {}, frame), " ", make("span", {}, data.past < data.first + data.frames ? position : ""));
    slider.value = state.frame;
    slider.setAttribute("aria-valuetext", text);
    updateLegend();
  }

  function updateLegend() {
    const present = clip.present[state.frame];
    for (const chip of legend.querySelectorAll("button[data-id]"))
      chip.dataset.absent = String(!present.has(+chip.dataset.id));
    const compared = panels.filter((panel) => shownMask(panel)[1]);
    kinds.hidden = !compared.length;
    if (panels.length > 1 || !compared.length) return;
    const judged = maskOf(shownMask(panels[0])[0]) && maskOf(data.truth), counts = new Array(data.errors.length).fill(0);
    if (judged) for (const kind of panels[0].kinds) counts[kind]++;
    for (const [number, entry] of [...kinds.querySelectorAll("output")].entries())
      entry.textContent = judged ? `${(100 * counts[number] / panels[0].kinds.length).toFixed(1)} %` : "";
  }

  /** Redraw after a change of anything but the frame: colours of hidden classes, pressed buttons, names of canvases. */
  function refresh() {
    if (!clip) return;
    clip.classPixels = new Uint32Array(256);
    for (const { id, colour } of data.classes) if (!state.hidden.has(id)) clip.classPixels[id] = pixel(colour);
    clip.classPixels[NO_LABEL] = pixel("#ffffff");
    for (const button of styleButtons) button.setAttribute("aria-pressed", String(button.dataset.value === state.style));
    for (const button of show.children) button.setAttribute("aria-pressed", String(button.dataset.value === state.show));
    for (const chip of legend.querySelectorAll("button[data-id]"))
      chip.setAttribute("aria-pressed", String(!state.hidden.has(+chip.dataset.id)));
    zoomButtons[0].disabled = zoomButtons[1].disabled = state.zoom === 1;
    for (const panel of panels) {
      panel.canvas.style.cursor = state.zoom > 1 ? "grab" : "default";
      const shown = panels.length > 1 ? `${panel.title}, ${state.show}` : state.show;
      panel.canvas.setAttribute("aria-label", `video with ${shown}`);
    }
    drawAll();
  }

  // ---- time ----------------------------------------------------------------------------------------------------------

  function showFrame(number) {
    state.frame = Math.max(0, Math.min(data.frames - 1, Math.round(number)));
    drawAll();
    options.onFrame?.(state.frame);
  }

  function step(by) {
    pause();
    showFrame((state.frame + by + data.frames) % data.frames);
  }

  function play() {
    if (state.playing || dead || data.frames < 2) return;
    state.playing = true;
    showPlaying();
    let due = performance.now();
    const tick = (now) => {
      if (!state.playing) return;
      if (!root.isConnected) return pause();
      const last = state.frame === data.frames - 1, seconds = 1 / (data.rate * state.speed) + (last ? HOLD_SECONDS : 0);
      if (now - due >= 1000 * seconds) {
        due = now;
        showFrame(last ? 0 : state.frame + 1);
      }
      timer = requestAnimationFrame(tick);
    };
    timer = requestAnimationFrame(tick);
  }

  function pause() {
    state.playing = false;
    cancelAnimationFrame(timer);
    showPlaying();
  }

  function toggle() { state.playing ? pause() : play(); }

  function showPlaying() {
    const label = state.playing ? "pause" : "play";
    if (playButton.getAttribute("aria-label") === label) return;
    playButton.setAttribute("aria-label", label);
    playButton.title = `${label} (space)`;
    playButton.replaceChildren(icon(label));
  }

  // ---- zoom and pointer ----------------------------------------------------------------------------------------------

  /** Zoom by a factor, keeping a point of the picture where it is; factor 0 shows the whole picture. */
  function zoomBy(factor, x = state.x + data.width / state.zoom / 2, y = state.y + data.height / state.zoom / 2) {
    const before = state.zoom;
    state.zoom = factor ? Math.max(1, Math.min(MAX_ZOOM, state.zoom * factor)) : 1;
    moveTo(x - (x - state.x) * before / state.zoom, y - (y - state.y) * before / state.zoom);
  }

  function moveTo(x, y) {
    state.x = Math.max(0, Math.min(data.width * (1 - 1 / state.zoom), x));
    state.y = Math.max(0, Math.min(data.height * (1 - 1 / state.zoom), y));
    refresh();
  }

  /** The position of a pointer in pixels of the picture. */
  function locate(panel, event) {
    const box = panel.canvas.getBoundingClientRect(), size = data.width / state.zoom / box.width;
    return [state.x + (event.clientX - box.left) * size, state.y + (event.clientY - box.top) * size];
  }

  function mark(id) {
    if (state.marked === id) return;
    state.marked = id;
    panels.forEach(draw);
  }

  function pointAt(panel, event) {
    const [x, y] = locate(panel, event), [name, against] = shownMask(panel);
    const index = Math.floor(y) * data.width + Math.floor(x);
    const mask = maskOf(name ?? panel.mask ?? data.truth), truth = maskOf(against);
    const id = mask?.[index] ?? 0, should = truth ? truth[index] : id;
    const names = (value) => clip.names[value] ?? (value === NO_LABEL ? "no label" : "background");
    mark(id || should);
    panel.tip.hidden = !(id || should);
    if (panel.tip.hidden) return;
    const lines = truth && id !== should ? [`truth: ${names(should)}`, `${name}: ${names(id)}`] : [names(id)];
    const velocity = data.speeds[id || should]?.[state.frame];
    if (velocity !== undefined && velocity !== null) lines.push(`${velocity.toFixed(2)} units a second`);
    const swatch = make("i", { style: `--swatch: ${clip.colours[id || should] ?? "#fff"}` });
    panel.tip.replaceChildren(swatch, lines[0], ...lines.slice(1).map((line) => make("small", {}, line)));
    const box = panel.canvas.getBoundingClientRect(), left = event.clientX - box.left, top = event.clientY - box.top;
    panel.tip.style.left = `${Math.max(4, Math.min(left + 14, box.width - panel.tip.offsetWidth - 4))}px`;
    panel.tip.style.top = `${top > box.height - panel.tip.offsetHeight - 22 ? top - panel.tip.offsetHeight - 8 : top + 18}px`;
  }

  function listenTo(panel) {
    const { canvas } = panel;
    let drag = null;
    canvas.addEventListener("pointerdown", (event) => {
      if (state.zoom === 1 || event.button) return;
      drag = { from: locate(panel, event) };
      canvas.setPointerCapture(event.pointerId);
      canvas.style.cursor = "grabbing";
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!clip) return;
      if (!drag) return pointAt(panel, event);
      const [x, y] = locate(panel, event);
      moveTo(state.x + drag.from[0] - x, state.y + drag.from[1] - y);
    });
    const drop = () => { drag = null; canvas.style.cursor = state.zoom > 1 ? "grab" : "default"; };
    canvas.addEventListener("pointerup", drop);
    canvas.addEventListener("pointercancel", drop);
    canvas.addEventListener("pointerleave", () => { panel.tip.hidden = true; mark(0); });
    canvas.addEventListener("dblclick", (event) => {
      if (state.zoom >= MAX_ZOOM) zoomBy(0);
      else zoomBy(2, ...locate(panel, event));
    });
    canvas.addEventListener("wheel", (event) => { // only with Ctrl or a pinch, so that the page still scrolls
      if (!event.ctrlKey) return;
      event.preventDefault();
      zoomBy(event.deltaY < 0 ? 1.2 : 1 / 1.2, ...locate(panel, event));
    }, { passive: false });
  }

  function onKey(event) {
    if (isForNotebook(event)) return;
    event.stopPropagation(); // the notebook has its own meaning for most keys
    if (["SELECT", "INPUT"].includes(event.target.tagName) && event.target !== slider) return;
    const presses = event.target.tagName === "BUTTON" && [" ", "Enter"].includes(event.key);
    const action = presses ? null : {
      " ": toggle, ArrowLeft: () => step(-1), ArrowRight: () => step(1),
      Home: () => { pause(); showFrame(0); }, End: () => { pause(); showFrame(data.frames - 1); },
      s: nextShow, c: () => { state.style = state.style === "fill" ? "contour" : "fill"; refresh(); },
      "+": () => zoomBy(1.5), "=": () => zoomBy(1.5), "-": () => zoomBy(1 / 1.5), 0: () => zoomBy(0),
    }[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }

  // ---- what is shown -------------------------------------------------------------------------------------------------

  function nextShow() {
    const values = [...show.children].map((button) => button.dataset.value);
    state.show = values[(values.indexOf(state.show) + 1) % values.length];
    refresh();
  }

  function hideClass(id, event) {
    if (event.altKey || event.shiftKey) {
      const others = data.classes.map((entry) => entry.id).filter((other) => other !== id);
      const isAlone = !state.hidden.has(id) && others.every((other) => state.hidden.has(other));
      state.hidden = new Set(isAlone ? [] : others);
    } else if (!state.hidden.delete(id)) state.hidden.add(id);
    refresh();
  }

  function buildPanel(panel) {
    const canvas = make("canvas", { role: "img" }), paint = document.createElement("canvas");
    const absent = make("div", { class: "vidseg-absent", hidden: true });
    const tip = make("div", { class: "vidseg-tip", role: "status", hidden: true });
    [paint.width, paint.height] = [data.width, data.height];
    const context = paint.getContext("2d"), image = context.createImageData(data.width, data.height);
    const caption = panel.title || panel.note
      ? make("figcaption", {}, make("b", {}, panel.title ?? ""), make("span", {}, panel.note ?? "")) : null;
    canvas.style.aspectRatio = `${data.width} / ${data.height}`;
    panelBox.append(make("figure", { class: "vidseg-panel" }, caption,
      make("div", { class: "vidseg-screen" }, canvas, absent, tip)));
    const built = {
      ...panel, canvas, absent, tip, context: canvas.getContext("2d"), kinds: new Uint8Array(data.width * data.height),
      paint: { canvas: paint, context, image, words: new Uint32Array(image.data.buffer) },
    };
    listenTo(built);
    return built;
  }

  function buildLegend() {
    const total = data.classes.length;
    legend.replaceChildren(...(total ? [make("h4", {}, "classes")] : []), ...data.classes.map(({ id, name, colour }) =>
      make("button", {
        type: "button", class: "vidseg-chip", "data-id": id, title: "hide or show; Alt-click: only this one",
        onclick: (event) => hideClass(id, event), onpointerenter: () => mark(id), onpointerleave: () => mark(0),
        onfocus: () => mark(id), onblur: () => mark(0),
        onkeydown: (event) => { if (event.altKey && event.key === "Enter") { event.preventDefault(); hideClass(id, event); } },
      }, make("i", { style: `--swatch: ${colour}` }), name)));
    const rest = [...legend.querySelectorAll("button")].slice(MAX_CHIPS);
    if (rest.length > 1) {
      const toggleRest = (hidden) => {
        rest.forEach((chip) => { chip.hidden = hidden; });
        more.textContent = hidden ? `${rest.length} more …` : "fewer";
        more.setAttribute("aria-expanded", String(!hidden));
      };
      const more = make("button", { type: "button", class: "vidseg-chip vidseg-more",
        onclick: () => toggleRest(!rest[0].hidden) });
      legend.append(more);
      toggleRest(true);
    }
    kinds.replaceChildren(make("h4", {}, "errors"), ...data.errors.slice(1).map(({ name, colour }) =>
      make("span", { class: "vidseg-chip vidseg-kind" }, make("i", { style: `--swatch: ${colour}` }), name, make("output"))));
    kinds.querySelectorAll("output").forEach((entry) => { if (panels.length > 1) entry.remove(); });
    const bottom = make("div", { class: "vidseg-row" }, kinds);
    main.querySelector(".vidseg-kinds")?.remove();
    bottom.classList.add("vidseg-kinds");
    panelBox.after(bottom);
    (panels.length > 1 ? main : body).append(legend);
    if (panels.length > 1) legend.classList.add("vidseg-row");
    else legend.classList.remove("vidseg-row");
    legend.hidden = !total;
  }

  function buildShow() {
    const others = Object.keys(data.masks).filter((name) => name !== data.truth && data.truth);
    const values = panels.length > 1
      ? [...(panels.some((panel) => panel.mask) ? ["masks"] : []), ...(others.length ? ["errors"] : []), "frames"]
      : [...Object.keys(data.masks), ...others.map((name) => `errors: ${name}`), "frames"];
    const label = (value) => (panels.length === 1 && others.length === 1 && value.startsWith("errors") ? "errors" : value);
    show.replaceChildren(...values.map((value) => make("button", { type: "button", "data-value": value,
      onclick: () => { state.show = value; refresh(); } }, label(value))));
    const wanted = state.show ?? options.show ?? panels[0].mask;
    state.show = values.includes(wanted) ? wanted : values[0];
    for (const part of [show, styleButtons[0].parentNode, opacity.parentNode]) part.hidden = values.length < 2;
  }

  function buildTimeline() {
    const given = Math.max(0, Math.min(data.frames, data.past - data.first)), share = (given - 0.5) / Math.max(1, data.frames - 1);
    const cut = `${(100 * Math.max(0, Math.min(1, share))).toFixed(1)}%`;
    slider.max = data.frames - 1;
    root.style.setProperty("--track", `linear-gradient(90deg, var(--vs-past) ${cut}, var(--vs-future) ${cut})`);
    past.style.flex = `0 0 ${cut}`;
    ahead.style.flex = "1 1 0";
    const last = data.first + data.frames - 1;
    past.textContent = given ? `given: ${data.first} to ${data.first + given - 1}` : "";
    ahead.textContent = given < data.frames ? `ahead: ${data.first + given} to ${last}` : "";
  }

  /** Show another clip; frame, zoom and all choices stay. */
  async function update(next) {
    const ours = ++generation, unpacked = await unpack(next);
    if (dead || ours !== generation) return;
    data = next;
    clip?.close();
    outlines.clear();
    clip = {
      ...unpacked,
      names: Object.fromEntries(data.classes.map(({ id, name }) => [id, name])),
      colours: Object.fromEntries(data.classes.map(({ id, colour }) => [id, colour])),
      errorPixels: Uint32Array.from(data.errors, ({ colour }, kind) => kind ? pixel(colour, kind === 1 ? 150 : 240) : 0),
      present: Array.from({ length: data.frames }, (_, t) =>
        new Set(Object.values(unpacked.masks).flatMap((masks) => [...new Set(masks[t])]))),
      close: () => Object.values(unpacked.images).flat().forEach((image) => image.close()),
    };
    title.textContent = data.title ?? "";
    root.setAttribute("aria-label", `mask viewer: ${data.title ?? ""}`);
    panels.forEach((panel) => resizes.unobserve(panel.canvas));
    panelBox.replaceChildren();
    panels = data.panels.map(buildPanel);
    plans = (data.plans ?? []).map(makePlan);
    panelBox.append(...plans.map((plan) => plan.figure));
    const count = panels.length + plans.length, columns = count === 4 ? 2 : Math.min(3, count);
    root.style.maxWidth = `${columns === 1 ? 860 : 30 + 460 * columns}px`;
    panelBox.style.setProperty("--columns", columns);
    buildShow();
    buildLegend();
    buildTimeline();
    state.frame = Math.min(state.frame, data.frames - 1);
    state.hidden = new Set([...state.hidden].filter((id) => id in clip.names));
    fit();
    panels.forEach((panel) => resizes.observe(panel.canvas));
    refresh();
  }

  /** Give every canvas the resolution of the screen. */
  function fit() {
    for (const { canvas } of panels) {
      const width = Math.max(data.width, Math.round(canvas.clientWidth * Math.min(2, window.devicePixelRatio || 1)));
      if (canvas.width === width) continue;
      canvas.width = width;
      canvas.height = Math.round(width * data.height / data.width);
    }
  }

  const resizes = new ResizeObserver(() => { if (clip) { fit(); panels.forEach(draw); } });
  state.frame = options.frame ?? 0;
  showPlaying();
  const ready = update(data);
  return {
    element: root, ready, showFrame, play, pause, update,
    get frame() { return state.frame; },
    destroy() {
      dead = true;
      releaseKeys();
      pause();
      resizes.disconnect();
      clip?.close();
      root.remove();
    },
  };
}

// ---- in a notebook ---------------------------------------------------------------------------------------------------

/** The output that lies before a widget's own in the same cell of a notebook, if it is a picture. */
function pictureBefore(element) {
  const output = element.closest(".jp-OutputArea-child, .output_area, .output_container, .output");
  const before = output?.previousElementSibling;
  return before?.querySelector("img") ? before : null;
}

/** The clip of an anywidget model: JSON, compressed. */
async function readClip(model) {
  const view = model.get("clip");
  return JSON.parse(new TextDecoder().decode(await inflate(new Uint8Array(view.buffer, view.byteOffset, view.byteLength))));
}

/**
 * In JupyterLab: leave our widgets out of the saved file while their pictures stay. Opened again without its kernel,
 * a notebook would report that their models are not found. It rests on how JupyterLab keeps outputs; where that is
 * different nothing happens. Returns a function that ends it.
 */
function keepOutOfFile(context) {
  const view = "application/vnd.jupyter.widget-view+json", taken = [];
  const putBack = () => { for (const [bundle, value] of taken.splice(0)) bundle[view] = value; };
  const onSave = (_, stage) => {
    putBack();
    if (stage !== "started") return;
    for (const cell of context.model.sharedModel.cells)
      for (const { data } of cell.ymodel.get("outputs")?.toJSON() ?? [])
        if (data?.[view]?.has_picture) {
          taken.push([data, data[view]]);
          delete data[view];
        }
  };
  context?.saveState?.connect(onSave);
  return () => { putBack(); context?.saveState?.disconnect(onSave); };
}

/**
 * The bar that chooses among many videos. It sends a request to the kernel, which answers with another clip. Where the
 * kernel has to score videos first, it answers now and then how many are missing, and the bar asks it to go on.
 */
function makeGalleryBar(model, root) {
  const lastCount = () => model.get("request")?.count ?? 0;
  const request = (wanted) => {
    root.dataset.busy = "true";
    model.set("request", { selection: choice.value, count: lastCount() + 1, stop: stopped, ...wanted });
    model.save_changes();
  };
  let stopped = false; // whether the scores that there are have to do
  const gallery = () => model.get("gallery");
  const button = (label, by, name) => make("button", { type: "button", class: "vidseg-step", "aria-label": label,
    title: label, onclick: () => request({ position: gallery().position + by }) }, icon(name));
  const previous = button("previous video", -1, "back"), next = button("next video", 1, "forward");
  const choice = make("select", { "aria-label": "which videos", onchange: () => { stopped = false; request({ position: 0 }); } });
  const number = make("input", { type: "number", min: 0, "aria-label": "number of the video",
    onchange: () => request({ number: +number.value }) });
  const where = make("output", { "aria-live": "polite" });
  const stop = make("button", { type: "button", title: "show the order of the videos that are scored",
    onclick: () => { stopped = true; request({ position: 0 }); } }, "stop");
  const show = () => {
    const { selections, selection, position, count: total, missing, number: shown, answers } = gallery();
    if (answers < lastCount()) return; // something else is asked for already
    if (choice.children.length !== selections.length)
      choice.replaceChildren(...selections.map((name) => make("option", { value: name }, name)));
    choice.value = selection;
    number.value = shown;
    where.textContent = total ? `${position + 1} of ${total}${missing ? " scored" : ""}` : "none of the videos";
    previous.disabled = next.disabled = total < 2;
    root.dataset.busy = "false";
    stop.hidden = !missing || stopped;
    if (stop.hidden) return;
    where.textContent = `scored ${total} of ${total + missing}`;
    previous.disabled = next.disabled = true;
    request({ position: 0 });
    root.dataset.busy = "false"; // the video that is shown can be played meanwhile
  };
  show();
  model.on("change:gallery", show);
  return make("div", { class: "vidseg-row vidseg-browse", role: "group", "aria-label": "videos" },
    previous, next, choice, make("label", { class: "vidseg-field" }, "video", number), where, stop);
}

/** Show an anywidget in place of the still picture before it, which the notebook keeps. Returns a function that ends it. */
function replacePicture(model, element) {
  const endKeeping = keepOutOfFile(model.widget_manager?.context);
  let picture = null;
  const frame = requestAnimationFrame(() => {
    picture = pictureBefore(element);
    if (picture) picture.style.display = "none";
  });
  return () => {
    cancelAnimationFrame(frame);
    endKeeping();
    if (picture) picture.style.display = "";
  };
}

/** What anywidget calls to show a viewer. */
async function render({ model, el }) {
  const viewer = createViewer(el, await readClip(model), model.get("options"));
  await viewer.ready;
  if (model.get("gallery")) viewer.element.querySelector(".vidseg-head").before(makeGalleryBar(model, viewer.element));
  const update = async () => viewer.update(await readClip(model));
  model.on("change:clip", update);
  const showPicture = replacePicture(model, el);
  return () => {
    showPicture();
    model.off("change:clip", update);
    viewer.destroy();
  };
}

export default { render };
