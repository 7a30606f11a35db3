// Which place of the model lies under a place of the canvas.
"use strict";

// The model's point, or null. x, y and reach are pixels of the pose's canvas; size is a drawn point's, in steps.
function pick(layer, pose, x, y, reach, size) {
  if (layer.faces) return pickSurface(layer, pose, x, y);
  for (const part of [0.2, 0.5, 1]) {
    const found = pickPoint(layer, pose, x, y, part * reach, size);
    if (found) return found;
  }
  return null;
}

// Of the points that are drawn there, or near it, the nearest to the place among the foremost.
function pickPoint({ xyz, count }, { forward, right, top, eye, focal, shift, width, height }, x, y, reach, size) {
  const across = (x - width / 2) / focal + shift[0], over = (height / 2 - y) / focal + shift[1];
  const found = [];
  let foremost = Infinity;
  for (let i = 0; i < count; i++) {
    const dx = xyz[3 * i] - eye[0], dy = xyz[3 * i + 1] - eye[1], dz = xyz[3 * i + 2] - eye[2];
    const depth = forward[0] * dx + forward[1] * dy + forward[2] * dz;
    if (depth <= 1) continue;
    const far = Math.max(reach / focal, size / depth / 2); // as a slope
    const offX = (right[0] * dx + right[1] * dy + right[2] * dz) / depth - across;
    const offY = (top[0] * dx + top[1] * dy + top[2] * dz) / depth - over;
    const off = offX * offX + offY * offY;
    if (off > far * far) continue;
    found.push([off, depth, i]);
    foremost = Math.min(foremost, depth);
  }
  const near = found.filter(([, depth]) => depth < 1.01 * foremost + 2 * size);
  if (!near.length) return null;
  const [, , i] = near.reduce((best, other) => (other[0] < best[0] ? other : best));
  return [xyz[3 * i], xyz[3 * i + 1], xyz[3 * i + 2]];
}

// Where the ray meets the first of the triangles (Möller and Trumbore).
function pickSurface({ xyz, faces }, { forward, right, top, eye, focal, shift, width, height }, x, y) {
  const across = (x - width / 2) / focal + shift[0], over = (height / 2 - y) / focal + shift[1];
  const [rx, ry, rz] = sum(sum(forward, right, across), top, over);
  let nearest = Infinity;
  for (let i = 0; i < faces.length; i += 3) {
    const a = 3 * faces[i], b = 3 * faces[i + 1], c = 3 * faces[i + 2];
    const ux = xyz[b] - xyz[a], uy = xyz[b + 1] - xyz[a + 1], uz = xyz[b + 2] - xyz[a + 2];
    const vx = xyz[c] - xyz[a], vy = xyz[c + 1] - xyz[a + 1], vz = xyz[c + 2] - xyz[a + 2];
    const px = ry * vz - rz * vy, py = rz * vx - rx * vz, pz = rx * vy - ry * vx;
    const determinant = ux * px + uy * py + uz * pz;
    if (determinant === 0) continue;
    const tx = eye[0] - xyz[a], ty = eye[1] - xyz[a + 1], tz = eye[2] - xyz[a + 2];
    const s = (tx * px + ty * py + tz * pz) / determinant;
    if (s < 0 || s > 1) continue;
    const qx = ty * uz - tz * uy, qy = tz * ux - tx * uz, qz = tx * uy - ty * ux;
    const t = (rx * qx + ry * qy + rz * qz) / determinant;
    if (t < 0 || s + t > 1) continue;
    const depth = (vx * qx + vy * qy + vz * qz) / determinant;
    if (depth > 1 && depth < nearest) nearest = depth;
  }
  return nearest < Infinity ? sum(eye, [rx, ry, rz], nearest) : null;
}
