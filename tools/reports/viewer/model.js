// What the page holds of the model: points and, where there is one, a surface; and their colours in each way of showing.
"use strict";

const GREY = 205; // of a surface without colours

function bytesOf(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const letters = atob(text), bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

// The corners of the faces: each is how far a vertex lies before the next that was not used yet, seven bits a byte.
function unpackCorners(bytes, count) {
  const corners = new Uint32Array(count);
  let next = 0, at = 0;
  for (let i = 0; i < count; i++) {
    let back = 0, shift = 0, byte;
    do {
      byte = bytes[at++];
      back |= (byte & 127) << shift;
      shift += 7;
    } while (byte & 128);
    corners[i] = next - back;
    if (back === 0) next++;
  }
  return corners;
}

function readLayer(name, given) {
  const layer = { name, count: given.count, spacing: given.spacing, faces: null };
  layer.xyz = new Int16Array(bytesOf(given.xyz).buffer);
  layer.rgb = bytesOf(given.rgb);
  for (const number of ["views", "confidence"]) layer[number] = given[number] ? bytesOf(given[number]) : null;
  if (given.faces) layer.faces = unpackCorners(bytesOf(given.faces), 3 * given.face_count);
  return layer;
}

// Directions at the vertices, int8 in fours: the sum of those of the faces around each.
function vertexNormals({ xyz, faces, count }) {
  const sums = new Float32Array(3 * count);
  for (let i = 0; i < faces.length; i += 3) {
    const [a, b, c] = [3 * faces[i], 3 * faces[i + 1], 3 * faces[i + 2]];
    const ux = xyz[b] - xyz[a], uy = xyz[b + 1] - xyz[a + 1], uz = xyz[b + 2] - xyz[a + 2];
    const vx = xyz[c] - xyz[a], vy = xyz[c + 1] - xyz[a + 1], vz = xyz[c + 2] - xyz[a + 2];
    const nx = uy * vz - uz * vy, ny = uz * vx - ux * vz, nz = ux * vy - uy * vx;
    for (const corner of [a, b, c]) {
      sums[corner] += nx;
      sums[corner + 1] += ny;
      sums[corner + 2] += nz;
    }
  }
  const normals = new Int8Array(4 * count);
  for (let i = 0; i < count; i++) {
    const long = Math.hypot(sums[3 * i], sums[3 * i + 1], sums[3 * i + 2]) || 1;
    for (let k = 0; k < 3; k++) normals[4 * i + k] = Math.round((127 * sums[3 * i + k]) / long);
  }
  return normals;
}

// ---------------------------------------------------------------- ways of showing

function readModel(data) {
  const layers = {};
  for (const name of ["surface", "points"]) if (data[name]) layers[name] = readLayer(name, data[name]);
  const { points } = layers;
  const heights = sampled(points.count, (i) => heightOf(points, i, data.up));
  const modes = {
    colour: null,
    shape: layers.surface ? null : undefined,
    height: { title: "height", low: heights[0], high: heights[1], value: (layer, i) => heightOf(layer, i, data.up) },
  };
  modes.height.ends = ["0", `${rounded((heights[1] - heights[0]) * data.step)} ${data.unit}`];
  if (points.views) {
    const [low, high] = sampled(points.count, (i) => points.views[i]);
    modes.views = { title: "photos that agree", low, high: Math.max(high, low + 1), value: (layer, i) => layer.views[i] };
    modes.views.ends = [String(low), String(Math.max(high, low + 1))];
  }
  if (points.confidence) {
    const ends = ["0", "1"];
    modes.confidence = { title: "confidence", low: 0, high: 255, ends, value: (layer, i) => layer.confidence[i] };
  }
  for (const name of Object.keys(modes)) if (modes[name] === undefined) delete modes[name];
  return { layers, modes };
}

function heightOf({ xyz }, i, up) {
  return up[0] * xyz[3 * i] + up[1] * xyz[3 * i + 1] + up[2] * xyz[3 * i + 2];
}

// The ends of nearly all values, from some thousands, which lie everywhere in a layer but in no regular pattern.
function sampled(count, value) {
  const found = [];
  for (let k = 0; k < Math.min(count, 5000); k++) found.push(value(Math.floor(((k * 0.6180339887) % 1) * count)));
  found.sort((a, b) => a - b);
  return [found[Math.floor(0.01 * (found.length - 1))], found[Math.ceil(0.99 * (found.length - 1))]];
}

const brightness = (rgb, at) => (rgb[at] + 2 * rgb[at + 1] + rgb[at + 2]) / 4;

// The colours of a layer, three bytes each. The photos' brightness stays visible in the colours of numbers.
function coloursOf(layer, name, mode, ramp) {
  if (name === "colour") return layer.rgb;
  const { rgb, count } = layer, made = new Uint8Array(3 * count);
  if (name === "shape" && layer.faces) return made.fill(GREY);
  if (name === "shape") return made.map((_, i) => brightness(rgb, i - (i % 3))); // without light points have no shape
  const range = mode.high - mode.low || 1, last = ramp.length - 1;
  for (let i = 0; i < count; i++) {
    const place = between(0, (mode.value(layer, i) - mode.low) / range, 1) * last;
    const first = Math.min(Math.floor(place), last - 1), part = place - first;
    const light = 0.68 + (0.4 * brightness(rgb, 3 * i)) / 255;
    for (let k = 0; k < 3; k++) {
      made[3 * i + k] = Math.min(255, light * (ramp[first][k] + part * (ramp[first + 1][k] - ramp[first][k])));
    }
  }
  return made;
}
