// Mouse, fingers and keys on the canvas.
"use strict";

const STILL = 6; // pixels that a finger may move and still tap
const PER_PIXEL = 0.006; // radians

// look: what turns; tapped(x, y, reach), twice(x, y, reach): what a tap does, pixels of the canvas in the page.
function listenToGestures(canvas, look, { moved, tapped, twice, ratio, focal }) {
  const fingers = new Map();
  let travelled = 0, most = 0;

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    if (!fingers.size) [travelled, most] = [0, 0];
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
    most = Math.max(most, fingers.size);
  });

  canvas.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const [x, y] = [event.clientX - before[0], event.clientY - before[1]];
    travelled += Math.hypot(x, y);
    if (travelled < STILL && most === 1) return; // a tap may tremble; the way is made up for when it is a drag
    const move = () => look.move(x, y, focal() / ratio());
    if (fingers.size === 2) {
      const [other] = [...fingers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
      const apart = (place) => Math.hypot(place[0] - other[0], place[1] - other[1]) || 1;
      look.zoom(apart(before) / apart([event.clientX, event.clientY]));
      look.move(x / 2, y / 2, focal() / ratio());
    } else if (event.buttons & 6 || event.shiftKey) move();
    else look.turn(x * PER_PIXEL, y * PER_PIXEL);
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
    moved();
  });

  const placeOf = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top, event.pointerType === "touch" ? 24 : 12];
  };
  canvas.addEventListener("pointerup", (event) => {
    const isTap = fingers.has(event.pointerId) && travelled < STILL && most === 1 && event.button === 0;
    fingers.delete(event.pointerId);
    if (isTap) tapped(...placeOf(event));
  });
  canvas.addEventListener("pointercancel", (event) => fingers.delete(event.pointerId));
  canvas.addEventListener("dblclick", (event) => twice(...placeOf(event)));
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      look.zoom(Math.exp((event.deltaMode === 1 ? 20 : 1) * event.deltaY * 0.001));
      moved();
    },
    { passive: false },
  );
}

// keys: name -> what to do.
function listenToKeys(element, keys) {
  element.addEventListener("keydown", (event) => {
    if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[event.key]();
  });
}
