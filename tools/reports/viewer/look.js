// From where the model is seen: a point to turn around, a distance, and angles. Photos' cameras are met exactly.
"use strict";

const MARGIN = 1.04; // around the picture of a camera
const FLIGHT = 700; // milliseconds

function makeLook(data, redraw) {
  const start = Math.floor(data.views.length / 2);
  const first = data.views[start];
  // Turning is about `up`, unless the first camera looks along it.
  const isSound = Math.hypot(...data.up) > 0.5 && Math.abs(dot(data.up, first.forward)) < 0.97;
  const up = isSound ? unit(data.up) : first.up;
  const ahead = unit(sum(first.forward, up, -dot(first.forward, up)));
  const side = cross(ahead, up);
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  let now = ofView(first);
  let flight = 0;

  function axes({ yaw, pitch, roll }) {
    const level = sum(scaled(ahead, Math.cos(yaw)), side, Math.sin(yaw));
    const forward = sum(scaled(level, Math.cos(pitch)), up, Math.sin(pitch));
    const across = unit(cross(level, up)), over = cross(across, forward);
    const right = sum(scaled(across, Math.cos(roll)), over, Math.sin(roll));
    return { forward, right, top: cross(right, forward) };
  }

  function ofView(view) {
    const pitch = Math.asin(between(-1, dot(view.forward, up), 1));
    const yaw = Math.atan2(dot(view.forward, side), dot(view.forward, ahead));
    const { right, top } = axes({ yaw, pitch, roll: 0 });
    const roll = Math.atan2(dot(view.right, top), dot(view.right, right));
    const target = sum(view.at, view.forward, view.depth);
    return { target, distance: view.depth, yaw, pitch, roll, slope: view.slope, shift: view.shift };
  }

  function stop() {
    cancelAnimationFrame(flight);
    flight = 0;
  }

  // Goes over from what is seen now, the shorter way round.
  function flyTo(end, arrived = () => {}) {
    stop();
    const from = now, begin = performance.now();
    const round = (angle) => Math.atan2(Math.sin(angle), Math.cos(angle));
    const turns = { yaw: round(end.yaw - from.yaw), roll: round(end.roll - from.roll) };
    const mix = (a, b, s) => a + s * (b - a);
    const step = (time) => {
      const passed = calm ? 1 : between(0, (time - begin) / FLIGHT, 1);
      const s = passed * passed * (3 - 2 * passed);
      now = {
        target: sum(from.target, sum(end.target, from.target, -1), s),
        distance: Math.exp(mix(Math.log(from.distance), Math.log(end.distance), s)),
        yaw: from.yaw + s * turns.yaw,
        pitch: mix(from.pitch, end.pitch, s),
        roll: from.roll + s * turns.roll,
        slope: from.slope.map((value, k) => mix(value, end.slope[k], s)),
        shift: from.shift.map((value, k) => mix(value, end.shift[k], s)),
      };
      flight = passed < 1 ? requestAnimationFrame(step) : 0;
      if (!flight) arrived();
      redraw();
    };
    flight = requestAnimationFrame(step);
  }

  return {
    start,
    axes: () => axes(now),
    distance: () => now.distance,
    isFlying: () => flight !== 0,
    // What a canvas of this size shows. A point at depth z, x to the right and y to the top of the axis, is drawn at
    // (width / 2 + focal (x / z - shift[0]), height / 2 - focal (y / z - shift[1])).
    pose(width, height) {
      const { forward, right, top } = axes(now);
      const focal = Math.min(width / now.slope[0], height / now.slope[1]) / 2 / MARGIN;
      return { forward, right, top, eye: sum(now.target, forward, -now.distance), focal, shift: now.shift, width, height };
    },
    fly: (k, arrived) => flyTo(ofView(data.views[k]), arrived),
    aim: (target) => flyTo({ ...now, target, distance: 0.6 * now.distance, roll: 0, shift: [0, 0] }),
    turn(x, y) {
      stop();
      const pitch = between(-1.5, now.pitch - y, 1.5);
      now = { ...now, yaw: now.yaw + x, pitch, roll: 0.8 * now.roll, shift: scaled2(now.shift, 0.8) };
    },
    move(x, y, focal) {
      stop();
      const { right, top } = axes(now), step = now.distance / focal;
      now = { ...now, target: sum(sum(now.target, right, -x * step), top, y * step) };
    },
    zoom(factor) {
      stop();
      now = { ...now, distance: between(10, now.distance * factor, 3e6) };
    },
  };
}

const scaled2 = ([x, y], s) => [x * s, y * s];

// Where a point is drawn, and its depth.
function project({ forward, right, top, eye, focal, shift, width, height }, point) {
  const seen = sum(point, eye, -1), depth = dot(seen, forward);
  const x = width / 2 + focal * (dot(seen, right) / depth - shift[0]);
  return [x, height / 2 - focal * (dot(seen, top) / depth - shift[1]), depth];
}

// The cameras as lines, two points each: from each place to the corners of its picture, and these to each other.
function cameraLines(views) {
  const corners = [[-1, -1], [1, -1], [1, 1], [-1, 1]], lines = [];
  for (const view of views) {
    const at = corners.map(([x, y]) => {
      const across = sum(view.forward, view.right, view.shift[0] + x * view.slope[0]);
      return sum(view.at, sum(across, view.up, view.shift[1] + y * view.slope[1]), 0.07 * view.depth);
    });
    at.forEach((corner, i) => lines.push(view.at, corner, corner, at[(i + 1) % 4]));
  }
  return lines;
}
