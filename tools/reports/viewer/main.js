// The viewer: draws when something has changed, and does what its buttons say.
"use strict";

function startViewer(viewer) {
  const canvas = viewer.querySelector("canvas");
  const data = JSON.parse(document.getElementById("model-data").textContent);
  const { layers, modes } = readModel(data);
  const webgl = makeWebGL(canvas);
  let draw = webgl || makePlain(canvas);
  let layer = layers.surface || layers.points, mode = "colour", larger = 1, lines = null;
  const colours = new Map(); // of layers and modes
  const everyLine = cameraLines(data.views);
  canvas.dataset.renderer = webgl ? "webgl" : "2d";

  // ---------------------------------------------------------------- drawing

  const ratio = () => (webgl ? Math.min(2, window.devicePixelRatio || 1) : 1);
  const pose = () => look.pose(canvas.width, canvas.height);
  // Without a graphics card a surface is drawn as its corners, which lie as far apart as its points do.
  const pointSize = () => 1.5 * larger * (layer.spacing || layers.points.spacing);
  let isWaiting = false;

  function redraw() {
    if (isWaiting) return;
    isWaiting = true;
    requestAnimationFrame(() => {
      isWaiting = false;
      const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((side) => Math.max(1, Math.round(side * ratio())));
      if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
      const key = `${layer.name} ${mode}`;
      if (!colours.has(key)) colours.set(key, coloursOf(layer, mode, modes[mode], data.ramps[mode]));
      const scene = { layer, colours: colours.get(key), pointSize: pointSize(), least: 1.2 * ratio(), isLit: mode !== "colour" };
      const seen = pose();
      draw(seen, { ...scene, lines, distance: look.distance() });
      measure.draw(seen, ratio());
      photos.draw(seen, ratio());
      canvas.dataset.flying = String(look.isFlying());
      if (!canvas.dataset.started) canvas.dataset.started = String(Math.round(performance.now())); // of the page's start
    });
  }

  const look = makeLook(data, redraw);
  const measure = makeMeasure(viewer, data, redraw);
  const photos = makePhotos(viewer, data, look, redraw);
  new ResizeObserver(redraw).observe(canvas);
  canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
  canvas.addEventListener("webglcontextrestored", () => {
    draw = makeWebGL(canvas);
    redraw();
  });

  // ---------------------------------------------------------------- mouse, fingers, keys

  const moved = () => {
    viewer.classList.add("used"); // who turns it needs no hint
    photos.left();
    redraw();
  };
  const placeAt = (x, y, reach) => pick(layer, pose(), x * ratio(), y * ratio(), reach * ratio(), pointSize());
  const goBack = () => photos.goTo(photos.chosen() ?? look.start);
  listenToGestures(canvas, look, {
    moved,
    ratio,
    focal: () => pose().focal,
    tapped: (x, y, reach) => measure.isOn() && measure.add(placeAt(x, y, reach)),
    twice(x, y, reach) {
      const place = measure.isOn() ? null : placeAt(x, y, reach);
      if (!place) return;
      photos.left();
      look.aim(place);
    },
  });
  const turned = (x, y) => () => (look.turn(x, y), moved());
  const zoomed = (factor) => () => (look.zoom(factor), moved());
  listenToKeys(canvas, {
    ArrowLeft: turned(0.08, 0), ArrowRight: turned(-0.08, 0), ArrowUp: turned(0, -0.08), ArrowDown: turned(0, 0.08),
    "+": zoomed(0.9), "=": zoomed(0.9), "-": zoomed(1.1), 0: goBack,
    m: () => setMeasuring(!measure.isOn()),
    Enter: () => measure.isOn() && measure.add(placeAt(canvas.clientWidth / 2, canvas.clientHeight / 2, 24)),
    Escape: () => (measure.isOn() ? setMeasuring(false) : photos.close()),
  });

  // ---------------------------------------------------------------- buttons

  const press = (name, action) => viewer.querySelector(`[data-do="${name}"]`).addEventListener("click", action);
  const mark = (button, on) => button.setAttribute("aria-pressed", String(on));
  const sized = (factor) => () => ((larger *= factor), redraw());

  function setMeasuring(on) {
    mark(viewer.querySelector("[data-do='measure']"), on);
    measure.toggle(on);
  }

  // One of several buttons is pressed; those of what the model lacks are not there.
  function choice(kind, isThere, now, chosen) {
    const buttons = [...viewer.querySelectorAll(`[data-${kind}]`)];
    const there = buttons.filter((button) => isThere(button.dataset[kind]));
    buttons.forEach((button) => (button.hidden = !there.includes(button)));
    buttons[0].parentElement.hidden = there.length < 2;
    const set = (name) => there.forEach((button) => mark(button, button.dataset[kind] === name));
    there.forEach((button) => button.addEventListener("click", () => (set(button.dataset[kind]), chosen(button.dataset[kind]))));
    set(now);
  }

  choice("layer", (name) => name in layers, layer.name, (name) => {
    layer = layers[name];
    showLegend();
    redraw();
  });
  choice("mode", (name) => name in modes, mode, (name) => {
    mode = name;
    showLegend();
    redraw();
  });
  press("reset", goBack);
  press("measure", () => setMeasuring(!measure.isOn()));
  press("smaller", sized(1 / 1.25));
  press("larger", sized(1.25));
  press("cameras", (event) => {
    lines = lines ? null : everyLine;
    mark(event.currentTarget, lines !== null);
    redraw();
  });
  press("more", (event) => mark(event.currentTarget, viewer.classList.toggle("all")));
  press("background", (event) => mark(event.currentTarget, viewer.classList.toggle("bright")));

  const legend = viewer.querySelector(".scale");
  function showLegend() {
    legend.hidden = !modes[mode];
    if (legend.hidden) return;
    legend.querySelector("b").textContent = modes[mode].title;
    const stops = data.ramps[mode].map((color) => `rgb(${color})`);
    legend.querySelector("i").style.background = `linear-gradient(90deg, ${stops})`;
    const ends = legend.querySelectorAll("span");
    modes[mode].ends.forEach((text, k) => (ends[k].textContent = text));
  }
  redraw();
}

if (document.getElementById("viewer")) startViewer(document.getElementById("viewer"));
