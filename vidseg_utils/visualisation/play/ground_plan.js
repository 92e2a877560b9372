// The ground plan to play with. It is loaded behind viewer.js in one module, and uses its `make`, `inflate`,
// `createViewer`, `isForNotebook`, `keepKeys`, `replacePicture` and its colours.
//
// createGroundPlan(element, scene, backend) draws the plan into an element of any page. The docstring of the Python
// module `play.widget` describes scene, backend's messages and results.

const ARROW_SECONDS = 0.5; // an arrow ends where the object would be after this time without friction
const REST_BELOW = 0.15; // units a second: a shorter arrow is an object at rest
const HANDLE_DISTANCE = 0.46; // world units from an object at rest to the handle that gives it a speed
const ROOM = { left: -3.9, right: 3.9, top: -4.1, bottom: 4.75 }; // world units that the plan always shows
const RADIUS = 0.2; // of every object, world units
const STEP = 0.05, LARGE_STEP = 0.25; // world units an arrow key moves an object
const MAX_UNDO = 50;
const RANDOM_SCENE = "a random scene";

const PLAN_STYLE = `
.vidseg-scene { --good: #00855f; --bad: #c2410c; --grid: rgba(120, 130, 140, .22); }
@media (prefers-color-scheme: dark) { .vidseg-scene { --good: #2fc79a; --bad: #ff8b5c; } }
[data-jp-theme-light="true"] .vidseg-scene, .vidseg-scene[data-theme="light"] { --good: #00855f; --bad: #c2410c; }
[data-jp-theme-light="false"] .vidseg-scene, .vidseg-scene[data-theme="dark"] { --good: #2fc79a; --bad: #ff8b5c; }
.vidseg-scene { max-width: 1240px; }
.vidseg-scene .vidseg { border: 0; padding: 0; width: auto !important; }
.vidseg-scene-body { display: flex; flex-wrap: wrap; gap: 14px 22px; align-items: flex-start; }
.vidseg-scene-left { flex: 1 1 340px; min-width: 0; max-width: 460px; }
.vidseg-scene-right { flex: 2 1 480px; min-width: 0; }
.vidseg-scene-left > .vidseg-row { margin-top: 8px; }
.vidseg-scene-left select { max-width: 150px; }
.vidseg-scene svg.vidseg-ground {
  display: block; width: 100%; border: 1px solid var(--line); border-radius: 6px; background: var(--well);
  touch-action: none; user-select: none; cursor: default;
}
.vidseg-seen { fill: var(--paper); stroke: var(--soft); stroke-width: 1; }
.vidseg-grid { stroke: var(--grid); stroke-width: 1; }
.vidseg-camera { fill: var(--soft); }
.vidseg-ground text { font-size: 11px; fill: var(--soft); }
.vidseg-ground :is(path, line, circle, rect, polygon, polyline) { vector-effect: non-scaling-stroke; }
.vidseg-path { fill: none; stroke-width: 2.2; stroke-linecap: round; stroke-linejoin: round; }
.vidseg-path.vidseg-later { stroke-dasharray: 1 5; }
.vidseg-path.vidseg-before { stroke: var(--soft); stroke-width: 1.2; stroke-dasharray: 4 4; opacity: .75; }
.vidseg-under { fill: none; stroke: color-mix(in srgb, var(--ink) 45%, var(--paper)); stroke-width: 4; opacity: .55; stroke-linecap: round; stroke-linejoin: round; }
.vidseg-hit { stroke: var(--ink); stroke-width: 1.6; }
.vidseg-cloud { stroke: none; opacity: .55; }
.vidseg-now { fill: none; stroke-width: 2; }
.vidseg-chosen { stroke: var(--ink); stroke-width: 2.4; stroke-linecap: round; }
.vidseg-object { cursor: grab; outline: none; }
.vidseg-object .vidseg-touch { fill: transparent; stroke: none; }
.vidseg-object .vidseg-shape { stroke: var(--ink); stroke-width: 1.2; }
.vidseg-object .vidseg-ring { fill: none; stroke: var(--tint); stroke-width: 2.2; opacity: 0; }
.vidseg-object[aria-pressed="true"] .vidseg-ring { opacity: 1; }
.vidseg-object:focus-visible .vidseg-ring { opacity: 1; stroke-dasharray: 3 3; }
.vidseg-object[data-bad="true"] .vidseg-shape { stroke: var(--bad); stroke-width: 3; }
.vidseg-shine { fill: rgba(255, 255, 255, .5); pointer-events: none; }
.vidseg-rim { fill: none; stroke: rgba(0, 0, 0, .35); stroke-width: 1; pointer-events: none; }
.vidseg-metal { fill: url(#vidseg-metal); pointer-events: none; }
.vidseg-arrow { stroke: var(--ink); stroke-width: 2; pointer-events: none; }
.vidseg-head-of-arrow { fill: var(--ink); pointer-events: none; }
.vidseg-handle { cursor: crosshair; fill: transparent; stroke: none; }
.vidseg-dot { fill: var(--tint); stroke: var(--paper); stroke-width: 1.5; pointer-events: none; }
.vidseg-dragging .vidseg-object, .vidseg-dragging { cursor: grabbing; }
.vidseg-scene button.vidseg-go {
  min-height: 32px; padding: 2px 16px; font-weight: 600; background: var(--tint); border-color: var(--tint); color: var(--vs-on-tint);
}
.vidseg-scene[data-busy="true"] button.vidseg-go::before {
  content: ""; width: 12px; height: 12px; margin-right: 8px; border-radius: 50%; border: 2px solid currentColor;
  border-right-color: transparent; animation: vidseg-turn .8s linear infinite;
}
@keyframes vidseg-turn { to { transform: rotate(360deg); } }
@media (prefers-reduced-motion: reduce) { .vidseg-scene button.vidseg-go::before { animation: none !important; } }
.vidseg-fields { display: grid; grid-template-columns: repeat(auto-fill, minmax(112px, 1fr)); gap: 6px 10px; margin-top: 8px; }
.vidseg-fields label { display: flex; flex-direction: column; gap: 2px; color: var(--soft); font-size: 12px; }
.vidseg-scene .vidseg-fields input { width: 100%; color: var(--ink); }
.vidseg-scene fieldset { margin: 10px 0 0; padding: 8px 10px 10px; border: 1px solid var(--line); border-radius: 6px; min-width: 0; }
.vidseg-scene legend { padding: 0 5px; font-weight: 600; }
.vidseg-scene fieldset .vidseg-row { margin-top: 2px; gap: 6px 10px; }
.vidseg-scene fieldset:disabled { opacity: .55; }
.vidseg-scene button.vidseg-colour { width: 26px; min-height: 26px; padding: 0; background: var(--swatch); }
.vidseg-scene button.vidseg-colour[aria-pressed="true"] { outline: 2px solid var(--tint); outline-offset: 1px; }
.vidseg-scene button.vidseg-colour:disabled { opacity: .25; }
.vidseg-say { flex: 1 1 240px; margin: 0; color: var(--soft); }
.vidseg-scene-right > .vidseg-row { margin: 8px 0 12px; min-height: 36px; }
.vidseg-error { margin: 0 0 12px; padding: 6px 10px; border-left: 3px solid var(--bad); background: var(--well); border-radius: 0 5px 5px 0; }
.vidseg-key { display: flex; flex-wrap: wrap; gap: 2px 14px; margin: 6px 0 0; color: var(--soft); font-size: 12px; }
.vidseg-key svg { width: 26px; height: 10px; margin-right: 5px; vertical-align: -1px; }
.vidseg-result { transition: opacity .2s; }
.vidseg-result[data-stale="true"] { opacity: .45; }
.vidseg-scene[data-busy="true"] .vidseg-result { opacity: .45; }
.vidseg-scores { display: grid; grid-template-columns: auto minmax(60px, 220px) auto; gap: 3px 10px; align-items: center; margin: 0 0 12px; width: fit-content; }
.vidseg-scores h4 { grid-column: 1 / -1; margin: 0 0 1px; font-size: 13px; font-weight: 600; color: var(--ink); }
.vidseg-scores span { color: var(--soft); }
.vidseg-scores b { font-variant-numeric: tabular-nums; font-weight: 400; }
.vidseg-scores i { display: block; width: 220px; max-width: 100%; height: 8px; border-radius: 4px; background: var(--well); overflow: hidden; }
.vidseg-scores i::before { content: ""; display: block; height: 100%; width: var(--share); background: var(--soft); border-radius: 4px; }
.vidseg-scores .vidseg-ours { color: var(--ink); font-weight: 600; }
.vidseg-scores i.vidseg-ours::before { background: var(--tint); }
`;

/** An SVG element with attributes and children. */
function draw(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false && value !== null) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

const speedOf = (object) => Math.hypot(object.vx, object.vy);
/** Degrees against the clock as the plan shows it: 0 is to the right, 90 away from the viewer. */
const directionOf = (object) => (speedOf(object) ? (Math.round(Math.atan2(-object.vx, object.vy) * 1800 / Math.PI) / 10 + 360) % 360 : 0);
const line = (points) => points.map(([x, y], n) => `${n ? "L" : "M"}${y.toFixed(3)} ${x.toFixed(3)}`).join("");
const copyOf = (objects) => objects.map((object) => ({ ...object }));

/**
 * Draw the ground plan. It works on any page and asks nothing of the network.
 *
 * scene: what Python's `Playground.scene` returns; result: a forecast to show at first, or null
 * backend: { paths(objects), forecast(objects, say), random() }, which return promises
 * returns: { element, objects, show(result), destroy() }
 */
export function createGroundPlan(element, scene, backend, result = null) {
  const state = {
    objects: copyOf(scene.objects), selected: 0, frame: 0, result: null, stale: false, busy: false, paths: null, undo: [],
    bad: new Set(),
  };
  let viewer = null, dead = false, asking = false, again = false, room = ROOM, drag = null;
  const names = scene.names, colours = scene.colours, [shapes, materials, tints] = [scene.shapes, scene.materials, scene.tints];
  const parts = (id) => [Math.floor((id - 1) / (tints.length * materials.length)), Math.floor((id - 1) / tints.length) % materials.length, (id - 1) % tints.length];
  const idOf = (shape, material, tint) => 1 + (shape * materials.length + material) * tints.length + tint;
  const shapeOf = (id) => shapes[parts(id)[0]];
  const current = () => state.objects[state.selected] ?? null;

  // ---- the parts of the page ---------------------------------------------------------------------------------------

  const layers = Object.fromEntries(["back", "before", "paths", "forecast", "objects", "handles"].map((name) => [name, draw("g")]));
  const plan = draw("svg", {
    class: "vidseg-ground", role: "group", "aria-label": "the ground from above; the camera is below", ondblclick: addAt,
    onpointerdown: (event) => { if (event.target.closest("[data-index]") === null) select(-1); },
    onpointermove: move, onpointerup: drop, onpointercancel: drop,
  }, draw("defs", {}, draw("radialGradient", { id: "vidseg-metal", cx: .35, cy: .3, r: .75 },
    draw("stop", { offset: 0, "stop-color": "#fff", "stop-opacity": .75 }),
    draw("stop", { offset: .45, "stop-color": "#fff", "stop-opacity": 0 }),
    draw("stop", { offset: 1, "stop-color": "#000", "stop-opacity": .35 }))), ...Object.values(layers));

  const button = (text, onclick, attributes = {}) => make("button", { type: "button", onclick, ...attributes }, text);
  const addButton = button("add object", () => addObject());
  const removeButton = button("remove", () => removeObject(), { title: "remove the chosen object (Delete)" });
  const undoButton = button("undo", undo, { title: "undo (Ctrl+Z)" });
  const examples = make("select", { "aria-label": "scenes", onchange: chooseScene },
    make("option", { value: "" }, "scenes …"),
    ...Object.keys(scene.examples).map((name) => make("option", { value: name }, name)),
    make("option", { value: RANDOM_SCENE }, RANDOM_SCENE));
  const goButton = button("forecast", () => forecast(), { class: "vidseg-go", title: "simulate, film and forecast (Enter)" });
  const say = make("p", { class: "vidseg-say", role: "status" });
  const error = make("p", { class: "vidseg-error", role: "alert", hidden: true });

  const inspectorName = make("legend", {});
  const choice = (label, entries, apply) => make("div", { class: "vidseg-choice", role: "group", "aria-label": label },
    ...entries.map((entry, n) => button(entry, () => apply(n))));
  const shapeChoice = choice("shape", shapes, (n) => setClass({ shape: n }));
  const materialChoice = choice("material", materials, (n) => setClass({ material: n }));
  const tintChoice = make("div", { class: "vidseg-row", role: "group", "aria-label": "colour" }, ...tints.map((name, n) =>
    button("", () => setClass({ tint: n }), { class: "vidseg-colour", "aria-label": name, title: name })));
  const field = (label, step, min, max, apply) => {
    const input = make("input", { type: "number", step, min, max, onchange: () => {
      if (!current() || input.value === "" || !Number.isFinite(+input.value)) return inspect();
      change(() => apply(current(), Math.max(min, Math.min(max, +input.value))));
    } });
    return { input, label: make("label", {}, label, input) };
  };
  const fields = {
    y: field("y, to the right", 0.05, -10, 10, (object, value) => { object.y = value; }),
    x: field("x, to the viewer", 0.05, -10, 10, (object, value) => { object.x = value; }),
    turn: field("rotation, degrees", 5, -360, 360, (object, value) => { object.yaw = value * Math.PI / 180; }),
    speed: field("speed, units/s", 0.1, 0, scene.max_speed, (object, value) => setMotion(object, value, directionOf(object))),
    direction: field("direction, degrees", 5, -360, 720, (object, value) => setMotion(object, speedOf(object) || 1, value)),
  };
  const inspector = make("fieldset", {}, inspectorName,
    make("div", { class: "vidseg-row" }, shapeChoice, materialChoice), tintChoice,
    make("div", { class: "vidseg-fields" }, ...Object.values(fields).map(({ label }) => label)));

  const sample = (markup) => { const box = draw("svg", { viewBox: "0 0 26 10", "aria-hidden": "true" }); box.innerHTML = markup; return box; };
  const key = make("div", { class: "vidseg-key" },
    make("span", {}, sample('<path class="vidseg-path" stroke="currentColor" d="M2 5H24"/>'), "given (frames 0 to 10)"),
    make("span", {}, sample('<path class="vidseg-path vidseg-later" stroke="currentColor" d="M2 5H24"/>'), "still to come"),
    make("span", {}, sample('<path class="vidseg-hit" d="M10 2l6 6m0-6l-6 6"/>'), "collision"),
    make("span", {}, sample('<circle class="vidseg-now" stroke="currentColor" cx="13" cy="5" r="4"/>'), "true position now"),
    make("span", {}, sample('<path class="vidseg-chosen" d="M9 5h8M13 1v8"/>'), "forecast"),
    make("span", { class: "vidseg-worlds" }, sample('<circle cx="6" cy="4" r="1.5" fill="currentColor"/><circle cx="13" cy="6.5" r="1.5" fill="currentColor"/><circle cx="19" cy="3" r="1.5" fill="currentColor"/>'), "possible worlds"),
    scene.before ? make("span", {}, sample('<path class="vidseg-path vidseg-before" d="M2 5H24"/>'), "as in the video") : null);
  const help = make("p", { class: "vidseg-help", hidden: true },
    "Drag an object to move it, the end of its arrow to give it a speed; a double click adds one. Keys on an object: ",
    ...[["arrows", "move (Shift: far)"], ["+ −", "faster, slower"], ["[ ]", "turn the arrow"], ["r", "rotate a cube"],
      ["delete", "remove"], ["enter", "forecast"], ["ctrl z", "undo"]].flatMap(([name, meaning]) => [make("kbd", {}, name), ` ${meaning}   `]));
  const keysButton = button("keys", () => {
    help.hidden = !help.hidden;
    keysButton.setAttribute("aria-expanded", String(!help.hidden));
  }, { class: "vidseg-keys", "aria-expanded": "false" });

  const scores = make("div", { class: "vidseg-scores" });
  const screen = make("div");
  const results = make("div", { class: "vidseg-result", hidden: true }, scores, screen);
  const root = make("section", {
    class: "vidseg vidseg-scene", "aria-label": scene.title, onkeydown: onKey,
  },
  make("style", {}, STYLE), make("style", {}, PLAN_STYLE),
  make("div", { class: "vidseg-head" }, make("span", { class: "vidseg-title" }, scene.title), make("span", { class: "vidseg-when" }, scene.note)),
  make("div", { class: "vidseg-scene-body" },
    make("div", { class: "vidseg-scene-left" },
      make("div", { class: "vidseg-row" }, addButton, removeButton, undoButton, examples, keysButton),
      help,
      make("div", { class: "vidseg-row" }, plan),
      key,
      inspector),
    make("div", { class: "vidseg-scene-right" },
      make("div", { class: "vidseg-row" }, goButton, say), error, results)));
  plan.parentNode.style.display = "block";
  element.append(root);
  const releaseKeys = keepKeys(root);

  // ---- drawing the plan --------------------------------------------------------------------------------------------

  /** Choose the part of the ground that is shown: all objects, and at least ROOM. */
  function fitRoom() {
    const all = [...state.objects, ...Object.values(scene.before ?? {}).map(([start]) => ({ x: start[0], y: start[1] }))];
    room = { ...ROOM };
    for (const { x, y } of all) {
      room.left = Math.min(room.left, y - 0.5);
      room.right = Math.max(room.right, y + 0.5);
      room.top = Math.min(room.top, x - 0.5);
      room.bottom = Math.max(room.bottom, x + 0.5);
    }
    plan.setAttribute("viewBox", `${room.left} ${room.top} ${room.right - room.left} ${room.bottom - room.top}`);
    const lines = [];
    for (let n = Math.ceil(room.left); n <= room.right; n++) lines.push(`M${n} ${room.top}V${room.bottom}`);
    for (let n = Math.ceil(room.top); n <= room.bottom; n++) lines.push(`M${room.left} ${n}H${room.right}`);
    const [cx, cy] = scene.camera;
    layers.back.replaceChildren(
      draw("polygon", { class: "vidseg-seen", points: scene.view.map(([x, y]) => `${y},${x}`).join(" ") }),
      draw("path", { class: "vidseg-grid", d: lines.join("") }),
      draw("path", { class: "vidseg-camera", d: `M${cx - .18} ${cy + .16}h.36L${cx} ${cy - .2}z` }, draw("title", {}, "camera")));
  }

  function unitsPerPixel() {
    return (room.right - room.left) / Math.max(1, plan.getBoundingClientRect().width);
  }

  function footprint(id, { x, y, yaw = 0 }, attributes) {
    if (shapeOf(id) !== "cube") return draw("circle", { cx: y, cy: x, r: RADIUS, ...attributes });
    const turn = `rotate(${(-yaw * 180 / Math.PI).toFixed(2)} ${y} ${x})`;
    return draw("rect", { x: y - RADIUS, y: x - RADIUS, width: 2 * RADIUS, height: 2 * RADIUS, rx: 0.03, transform: turn, ...attributes });
  }

  function drawObject(object, index) {
    const { class_id: id, x, y } = object, [shape, material] = parts(id), touch = Math.max(RADIUS * 1.35, 13 * unitsPerPixel());
    const speed = speedOf(object), moves = speed ? `${speed.toFixed(1)} units a second at ${Math.round(directionOf(object))} degrees` : "at rest";
    return draw("g", {
      class: "vidseg-object", tabindex: 0, role: "button", "data-index": index, "data-id": id,
      "aria-pressed": String(index === state.selected), "data-bad": String(state.bad.has(id)),
      "aria-label": `${names[id]}, ${y.toFixed(2)} to the right, ${x.toFixed(2)} to the viewer, ${moves}`,
      onpointerdown: (event) => grab(event, index, "object"), onfocus: () => select(index),
    },
    draw("title", {}, names[id]),
    draw("circle", { class: "vidseg-touch", cx: y, cy: x, r: touch }),
    draw("circle", { class: "vidseg-ring", cx: y, cy: x, r: RADIUS * (shapes[shape] === "cube" ? 1.75 : 1.4) }),
    footprint(id, object, { class: "vidseg-shape", fill: colours[id] }),
    materials[material] === "metal" ? footprint(id, object, { class: "vidseg-metal" }) : null,
    shapes[shape] === "cylinder" ? draw("circle", { class: "vidseg-rim", cx: y, cy: x, r: RADIUS * 0.68 }) : null,
    shapes[shape] === "sphere" ? draw("circle", { class: "vidseg-shine", cx: y - 0.06, cy: x - 0.07, r: 0.05 }) : null);
  }

  /** The arrow of an object, and the handle at its end: a circle that is larger than it looks. */
  function drawArrow(object, index) {
    const speed = speedOf(object), chosen = index === state.selected, { x, y } = object;
    if (!speed && !chosen) return [];
    const tipX = speed ? x + object.vx * ARROW_SECONDS : x, tipY = speed ? y + object.vy * ARROW_SECONDS : y + HANDLE_DISTANCE;
    const length = Math.hypot(tipX - x, tipY - y) || 1, [ux, uy] = [(tipX - x) / length, (tipY - y) / length];
    const size = 9 * unitsPerPixel(), baseX = tipX - ux * size, baseY = tipY - uy * size;
    const from = Math.min(RADIUS, length - size);
    return [
      speed ? draw("line", { class: "vidseg-arrow", x1: y + uy * from, y1: x + ux * from, x2: baseY, y2: baseX }) : null,
      speed ? draw("polygon", { class: "vidseg-head-of-arrow", points: [[tipY, tipX], [baseY + ux * size * .5, baseX - uy * size * .5], [baseY - ux * size * .5, baseX + uy * size * .5]].map((point) => point.join()).join(" ") }) : null,
      chosen ? draw("circle", { class: "vidseg-dot", cx: tipY, cy: tipX, r: 4.5 * unitsPerPixel() }) : null,
      draw("circle", { class: "vidseg-handle", "data-index": index, cx: tipY, cy: tipX, r: 13 * unitsPerPixel(),
        onpointerdown: (event) => grab(event, index, "arrow") }, draw("title", {}, "drag: speed and direction")),
    ].filter(Boolean);
  }

  function drawObjects() {
    const focused = layers.objects.contains(document.activeElement);
    layers.objects.replaceChildren(...state.objects.map(drawObject));
    layers.handles.replaceChildren(...state.objects.flatMap(drawArrow));
    if (focused) layers.objects.querySelector(`[data-index="${state.selected}"]`)?.focus({ preventScroll: true });
  }

  function drawPaths() {
    const given = scene.given_points, { paths, hits } = state.paths ?? { paths: {}, hits: [] };
    const nodes = [];
    for (const [id, points] of Object.entries(paths)) {
      if (Math.hypot(points[0][0] - points.at(-1)[0], points[0][1] - points.at(-1)[1]) < 0.01) continue;
      const stroke = colours[id];
      nodes.push(draw("path", { class: "vidseg-under", d: line(points.slice(0, given)) }),
        draw("path", { class: "vidseg-path", stroke, d: line(points.slice(0, given)) }),
        draw("path", { class: "vidseg-path vidseg-later", stroke, d: line(points.slice(given - 1)) }));
    }
    const size = 5 * unitsPerPixel();
    for (const [, x, y] of hits) {
      nodes.push(draw("path", { class: "vidseg-hit", d: `M${y - size} ${x - size}l${2 * size} ${2 * size}m0 ${-2 * size}l${-2 * size} ${2 * size}` }));
    }
    layers.paths.replaceChildren(...nodes);
  }

  /** Where the objects are in the frame that the viewer shows, and where the forecast has them. */
  function drawFrame() {
    const nodes = [], shown = state.result && !state.stale ? state.result : null, ahead = state.frame - scene.past + 1;
    const dot = 1.7 * unitsPerPixel(), arm = 6 * unitsPerPixel();
    for (const [id, moments] of Object.entries(shown?.moments ?? {})) {
      const [x, y, yaw] = moments[state.frame], stroke = colours[id], worlds = shown.forecast[id];
      if (ahead >= 0 && worlds) {
        for (const [wx, wy] of worlds.possible[ahead]) nodes.push(draw("circle", { class: "vidseg-cloud", cx: wy, cy: wx, r: dot, fill: stroke }));
      }
      nodes.push(footprint(+id, { x, y, yaw }, { class: "vidseg-now", stroke }));
      if (ahead >= 0 && worlds) {
        const [fx, fy] = worlds.chosen[ahead];
        nodes.push(draw("path", { class: "vidseg-chosen", d: `M${fy - arm} ${fx}h${2 * arm}M${fy} ${fx - arm}v${2 * arm}` }));
      }
    }
    layers.forecast.replaceChildren(...nodes);
  }

  function drawBefore() {
    layers.before.replaceChildren(...Object.values(scene.before ?? {}).map((points) => draw("path", { class: "vidseg-path vidseg-before", d: line(points) })));
  }

  /** Show in the form what the chosen object is. */
  function inspect() {
    const object = current();
    inspector.disabled = removeButton.disabled = !object || state.busy;
    addButton.disabled = state.objects.length >= scene.max_objects || state.busy;
    undoButton.disabled = !state.undo.length || state.busy;
    goButton.disabled = state.busy;
    inspectorName.textContent = object ? names[object.class_id] : "no object chosen";
    if (!object) return;
    const [shape, material, tint] = parts(object.class_id), taken = new Set(state.objects.filter((other) => other !== object).map((other) => other.class_id));
    const mark = (box, chosen, id) => [...box.children].forEach((entry, n) => {
      entry.setAttribute("aria-pressed", String(n === chosen));
      entry.disabled = taken.has(id(n));
    });
    mark(shapeChoice, shape, (n) => idOf(n, material, tint));
    mark(materialChoice, material, (n) => idOf(shape, n, tint));
    mark(tintChoice, tint, (n) => idOf(shape, material, n));
    [...tintChoice.children].forEach((entry, n) => entry.style.setProperty("--swatch", colours[idOf(shape, material, n)]));
    fields.turn.input.disabled = shapes[shape] !== "cube";
    const values = { x: object.x, y: object.y, turn: object.yaw * 180 / Math.PI, speed: speedOf(object), direction: directionOf(object) };
    for (const [name, { input }] of Object.entries(fields)) {
      if (document.activeElement !== input) input.value = String(Math.round(values[name] * 100) / 100);
    }
  }

  function redraw() {
    drawObjects();
    inspect();
  }

  // ---- changing the scene ------------------------------------------------------------------------------------------

  function remember() {
    state.undo.push(copyOf(state.objects));
    if (state.undo.length > MAX_UNDO) state.undo.shift();
  }

  function change(apply) {
    if (state.busy) return;
    remember();
    apply();
    changed();
  }

  function changed() {
    state.stale = true;
    results.dataset.stale = "true";
    redraw();
    drawFrame();
    askForPaths();
  }

  function undo() {
    const before = state.undo.pop();
    if (!before || state.busy) return;
    state.objects = before;
    state.selected = Math.min(state.selected, before.length - 1);
    changed();
  }

  function select(index) {
    if (state.selected === index) return;
    state.selected = index;
    for (const node of layers.objects.children) node.setAttribute("aria-pressed", String(+node.dataset.index === index));
    layers.handles.replaceChildren(...state.objects.flatMap(drawArrow));
    inspect();
  }

  function setMotion(object, speed, degrees) {
    const angle = degrees * Math.PI / 180, bounded = Math.max(0, Math.min(scene.max_speed, speed));
    const rests = bounded < REST_BELOW;
    object.vx = rests ? 0 : -bounded * Math.sin(angle);
    object.vy = rests ? 0 : bounded * Math.cos(angle);
  }

  function setClass({ shape, material, tint }) {
    const object = current();
    if (!object) return;
    const [oldShape, oldMaterial, oldTint] = parts(object.class_id);
    change(() => { object.class_id = idOf(shape ?? oldShape, material ?? oldMaterial, tint ?? oldTint); });
  }

  /** A class that no object has yet: another colour first, so that neighbours in the list look different. */
  function freeClass() {
    const taken = new Set(state.objects.map((object) => object.class_id)), n = state.objects.length;
    for (let tries = 0; tries < shapes.length * materials.length * tints.length; tries++) {
      const id = idOf((n + tries) % shapes.length, (n + Math.floor(tries / shapes.length)) % materials.length, (3 * n + 1 + tries) % tints.length);
      if (!taken.has(id)) return id;
    }
    return names.findIndex((_, id) => id && !taken.has(id));
  }

  const isFree = (x, y) => state.objects.every((other) => Math.hypot(other.x - x, other.y - y) > 0.6);

  function addObject(place = null) {
    if (state.objects.length >= scene.max_objects) return;
    let [x, y] = place ?? [0, 0];
    for (let n = 1; !place && !isFree(x, y) && n < 400; n++) [x, y] = [0.12 * Math.sqrt(n) * Math.cos(2.4 * n), 0.12 * Math.sqrt(n) * Math.sin(2.4 * n)];
    change(() => {
      state.objects.push({ class_id: freeClass(), x, y, vx: 0, vy: 0, yaw: 0 });
      state.selected = state.objects.length - 1;
    });
  }

  function addAt(event) {
    if (event.target.closest("[data-index]")) return;
    const [x, y] = locate(event);
    addObject([x, y]);
  }

  function removeObject() {
    if (!current()) return;
    const hadFocus = layers.objects.contains(document.activeElement);
    change(() => {
      state.objects.splice(state.selected, 1);
      state.selected = Math.min(state.selected, state.objects.length - 1);
    });
    if (hadFocus) layers.objects.querySelector(`[data-index="${state.selected}"]`)?.focus({ preventScroll: true });
  }

  async function chooseScene() {
    const name = examples.value;
    examples.value = "";
    if (!name || state.busy) return;
    try {
      const objects = name === RANDOM_SCENE ? await backend.random() : scene.examples[name];
      change(() => { state.objects = copyOf(objects); state.selected = 0; fitRoom(); });
      await forecast();
    } catch (problem) { showError(problem.message); }
  }

  // ---- pointer and keys --------------------------------------------------------------------------------------------

  /** World x and y under a pointer, within the part of the ground that is shown. */
  function locate(event) {
    const box = plan.getBoundingClientRect(), scale = (room.right - room.left) / box.width;
    return [
      Math.max(room.top + RADIUS, Math.min(room.bottom - RADIUS, room.top + (event.clientY - box.top) * scale)),
      Math.max(room.left + RADIUS, Math.min(room.right - RADIUS, room.left + (event.clientX - box.left) * scale)),
    ];
  }

  function grab(event, index, what) {
    if (event.button || state.busy) return;
    event.preventDefault();
    select(index);
    layers.objects.children[index]?.focus({ preventScroll: true });
    const [x, y] = locate(event), object = state.objects[index];
    drag = { index, what, moved: false, dx: object.x - x, dy: object.y - y, before: copyOf(state.objects) };
    plan.setPointerCapture(event.pointerId);
    plan.classList.add("vidseg-dragging");
  }

  function move(event) {
    if (!drag) return;
    const object = state.objects[drag.index], [x, y] = locate(event);
    if (!drag.moved) {
      drag.moved = true;
      remember();
    }
    if (drag.what === "object") [object.x, object.y] = [x + drag.dx, y + drag.dy];
    else {
      const dx = x - object.x, dy = y - object.y, speed = Math.hypot(dx, dy) / ARROW_SECONDS;
      setMotion(object, Math.hypot(dx, dy) < RADIUS ? 0 : speed, Math.atan2(-dx, dy) * 180 / Math.PI);
    }
    changed();
  }

  function drop() {
    drag = null;
    plan.classList.remove("vidseg-dragging");
  }

  function onKey(event) {
    const typing = ["INPUT", "SELECT"].includes(event.target.tagName), inViewer = screen.contains(event.target);
    if (inViewer) return;
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z" && !typing) {
      event.stopPropagation();
      event.preventDefault();
      undo();
      return;
    }
    if (isForNotebook(event)) return;
    event.stopPropagation(); // the notebook has its own meaning for most keys
    if (typing || !layers.objects.contains(event.target)) return;
    const object = current(), by = event.shiftKey ? LARGE_STEP : STEP;
    if (!object) return;
    const moveBy = (dx, dy) => change(() => { object.x += dx; object.y += dy; });
    const steer = (speed, degrees) => change(() => setMotion(object, speed, degrees));
    const action = {
      ArrowLeft: () => moveBy(0, -by), ArrowRight: () => moveBy(0, by), ArrowUp: () => moveBy(-by, 0), ArrowDown: () => moveBy(by, 0),
      "+": () => steer(speedOf(object) + 0.2, directionOf(object)), "=": () => steer(speedOf(object) + 0.2, directionOf(object)),
      "-": () => steer(speedOf(object) - 0.2, directionOf(object)),
      "[": () => steer(speedOf(object), directionOf(object) + 5), "]": () => steer(speedOf(object), directionOf(object) - 5),
      r: () => change(() => { object.yaw += Math.PI / 12; }),
      Delete: removeObject, Backspace: removeObject, Enter: () => forecast(),
    }[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }

  // ---- asking Python -----------------------------------------------------------------------------------------------

  function showError(text) {
    error.hidden = !text;
    error.textContent = text ?? "";
    state.bad = new Set(text ? state.objects.map((object) => object.class_id).filter((id) => text.includes(names[id])) : []);
    for (const node of layers.objects.children) node.dataset.bad = String(state.bad.has(+node.dataset.id));
  }

  /** Ask where the objects go. Only one question is on its way; the newest scene follows when it is answered. */
  async function askForPaths() {
    if (asking) { again = true; return; }
    asking = true;
    do {
      again = false;
      try {
        const reply = await backend.paths(copyOf(state.objects));
        if (dead) return;
        state.paths = reply;
        showError(null);
      } catch (problem) {
        if (dead) return;
        state.paths = null;
        showError(problem.message);
      }
      drawPaths();
      if (!state.busy) say.textContent = state.stale && error.hidden ? describePaths() : "";
    } while (again);
    asking = false;
  }

  function describePaths() {
    const count = state.paths?.hits.length ?? 0;
    return `${count === 0 ? "no collision" : count === 1 ? "one collision" : `${count} collisions`} in the simulation; press forecast`;
  }

  async function forecast() {
    if (state.busy) return;
    setBusy(true);
    const objects = copyOf(state.objects);
    try {
      const found = await backend.forecast(objects, (step) => { say.textContent = `${step} …`; });
      if (!dead) await show(found);
    } catch (problem) {
      if (!dead) { say.textContent = ""; showError(problem.message); }
    }
    if (!dead) setBusy(false);
  }

  function setBusy(busy) {
    state.busy = busy;
    root.dataset.busy = String(busy);
    root.setAttribute("aria-busy", String(busy));
    inspect();
  }

  /** Show a forecast: its scores, the viewer, and the positions in the plan. */
  async function show(found) {
    state.result = found;
    state.stale = false;
    state.paths = { paths: found.paths, hits: found.hits };
    showError(null);
    results.hidden = false;
    results.dataset.stale = "false";
    const seconds = Object.values(found.seconds).reduce((sum, value) => sum + value, 0);
    say.textContent = found.summary + (seconds ? ` (${seconds.toFixed(1)} s)` : "");
    scores.replaceChildren(make("h4", {}, `Jaccard index of frame ${found.clip.frames - 1}`), ...Object.entries(found.scores).flatMap(([name, score], n) => {
      const ours = n === 0 ? "vidseg-ours" : undefined, value = score === null ? "–" : score.toFixed(2);
      return [make("span", { class: ours }, name), make("i", { class: ours, style: `--share: ${100 * (score ?? 0)}%`, "aria-hidden": "true" }), make("b", { class: ours }, value)];
    }));
    root.querySelector(".vidseg-worlds").hidden = !Object.keys(found.forecast).length;
    if (viewer) await viewer.update(found.clip);
    else {
      viewer = createViewer(screen, found.clip, { frame: found.clip.frames - 1, show: "masks", opacity: 0.6,
        onFrame: (frame) => { state.frame = frame; drawFrame(); } });
      await viewer.ready;
    }
    state.frame = viewer.frame;
    redraw();
    drawPaths();
    drawFrame();
  }

  const resizes = new ResizeObserver(() => { if (!drag) { drawObjects(); drawPaths(); drawFrame(); } });
  fitRoom();
  drawBefore();
  redraw();
  if (result) show(result);
  else askForPaths();
  resizes.observe(plan);
  return {
    element: root, show,
    get objects() { return copyOf(state.objects); },
    destroy() {
      dead = true;
      releaseKeys();
      resizes.disconnect();
      viewer?.destroy();
      root.remove();
    },
  };
}

// ---- in a notebook -----------------------------------------------------------------------------------------------------

async function readResult(model) {
  const view = model.get("result");
  if (!view?.byteLength) return null;
  return JSON.parse(new TextDecoder().decode(await inflate(new Uint8Array(view.buffer, view.byteOffset, view.byteLength))));
}

/** The three questions to Python, as promises. */
function connect(model) {
  const waiting = new Map();
  let number = 0;
  const answer = async (message) => {
    const question = waiting.get(message.number);
    if (!question) return;
    if (message.step) return question.say?.(message.step);
    waiting.delete(message.number);
    if (message.error) question.refuse(new Error(message.error));
    else question.resolve(message.kind === "forecast" ? await readResult(model) : message.value);
  };
  model.on("msg:custom", answer);
  const ask = (kind, objects, say) => new Promise((resolve, refuse) => {
    waiting.set(++number, { resolve, refuse, say });
    model.send({ kind, number, objects });
  });
  return {
    paths: (objects) => ask("paths", objects),
    forecast: (objects, say) => ask("forecast", objects, say),
    random: () => ask("random", []),
    close: () => model.off("msg:custom", answer),
  };
}

/** What anywidget calls to show the widget. */
async function renderPlan({ model, el }) {
  const backend = connect(model);
  const plan = createGroundPlan(el, model.get("scene"), backend, await readResult(model));
  const showPicture = replacePicture(model, el);
  return () => {
    showPicture();
    backend.close();
    plan.destroy();
  };
}

export default { render: renderPlan };
