// Drawing without a graphics card: the points of a layer as squares, the nearest in front. A surface shows its corners.
"use strict";

const WIDEST = 8; // pixels of a point

function makePlain(canvas) {
  const context = canvas.getContext("2d");
  return (pose, scene) => {
    const { width, height } = pose;
    const picture = context.createImageData(width, height);
    plotPoints(new Uint32Array(picture.data.buffer), pose, scene);
    context.putImageData(picture, 0, 0);
    if (scene.lines) strokeLines(context, pose, scene.lines);
  };
}

function plotPoints(pixels, { forward, right, top, eye, focal, shift, width, height }, { layer, colours, pointSize }) {
  const { xyz, count } = layer;
  const nearest = new Float32Array(width * height).fill(Infinity);
  const [offsetX, offsetY, offsetZ] = [right, top, forward].map((axis) => dot(axis, eye));
  const middleX = width / 2 - focal * shift[0], middleY = height / 2 + focal * shift[1];
  for (let i = 0; i < count; i++) {
    const x = xyz[3 * i], y = xyz[3 * i + 1], z = xyz[3 * i + 2];
    const depth = forward[0] * x + forward[1] * y + forward[2] * z - offsetZ;
    if (depth <= 1) continue;
    const scale = focal / depth, wide = between(1, Math.round(pointSize * scale), WIDEST);
    const left = Math.round(middleX + scale * (right[0] * x + right[1] * y + right[2] * z - offsetX) - wide / 2);
    const over = Math.round(middleY - scale * (top[0] * x + top[1] * y + top[2] * z - offsetY) - wide / 2);
    const color = 0xff000000 | (colours[3 * i + 2] << 16) | (colours[3 * i + 1] << 8) | colours[3 * i];
    for (let row = Math.max(0, over); row < Math.min(height, over + wide); row++) {
      for (let column = Math.max(0, left); column < Math.min(width, left + wide); column++) {
        const place = row * width + column;
        if (depth < nearest[place]) {
          nearest[place] = depth;
          pixels[place] = color;
        }
      }
    }
  }
}

function strokeLines(context, pose, lines) {
  const flat = lines.map((point) => project(pose, point));
  context.strokeStyle = "#969696";
  context.beginPath();
  for (let i = 0; i < flat.length; i += 2) {
    if (flat[i][2] <= 1 || flat[i + 1][2] <= 1) continue;
    context.moveTo(flat[i][0], flat[i][1]);
    context.lineTo(flat[i + 1][0], flat[i + 1][1]);
  }
  context.stroke();
}
