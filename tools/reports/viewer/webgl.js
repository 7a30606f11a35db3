// Drawing with the graphics card.
"use strict";

const VERTEX_SHADER = `
  attribute vec3 position; attribute vec3 color; attribute vec3 normal; varying vec3 tint;
  uniform mat4 clip_T_model; uniform vec3 forward; uniform float focal, size, least, lit;
  void main() {
    gl_Position = clip_T_model * vec4(position, 1.0);
    gl_PointSize = clamp(size * focal / max(gl_Position.w, 1e-6), least, 48.0);
    tint = color * mix(1.0, 0.3 + 0.7 * abs(dot(normalize(normal + 1e-6), forward)), lit);
  }`;
const FRAGMENT_SHADER = `
  precision mediump float; varying vec3 tint; uniform float round_points;
  void main() {
    if (round_points > 0.5 && length(gl_PointCoord - 0.5) > 0.5) discard;
    gl_FragColor = vec4(tint, 1.0);
  }`;
const LINE_GREY = 150;

// Returns draw(pose, scene), or null where there is no WebGL. The scene: layer, colours (three bytes each), pointSize,
// least (pixels of a point), isLit, lines (points, or null).
function makeWebGL(canvas) {
  const options = { antialias: true, alpha: true };
  const gl = canvas.getContext("webgl2", options) || canvas.getContext("webgl", options);
  if (!gl) return null;
  const program = makeProgram(gl);
  if (!program) return null;
  gl.getExtension("OES_element_index_uint");
  gl.enable(gl.DEPTH_TEST);
  const where = (name) => gl.getUniformLocation(program, name);
  const [position, color, normal] = ["position", "color", "normal"].map((name) => gl.getAttribLocation(program, name));
  for (const place of [position, color]) gl.enableVertexAttribArray(place);
  const kept = new Map(); // what was handed over of a layer, and of which colours

  function buffer(content, kind = gl.ARRAY_BUFFER) {
    const made = gl.createBuffer();
    gl.bindBuffer(kind, made);
    gl.bufferData(kind, content, gl.STATIC_DRAW);
    return made;
  }

  function partsOf(layer, colours, needsNormals) {
    if (!kept.has(layer)) {
      const padded = new Int16Array(4 * layer.count); // four of two bytes: aligned as graphics cards like it
      for (let i = 0, k = 0; i < padded.length; i += 4) {
        padded[i] = layer.xyz[k++];
        padded[i + 1] = layer.xyz[k++];
        padded[i + 2] = layer.xyz[k++];
      }
      const corners = layer.faces && buffer(layer.faces, gl.ELEMENT_ARRAY_BUFFER);
      kept.set(layer, { position: buffer(padded), corners, color: null, colours: null, normal: null });
    }
    const parts = kept.get(layer);
    if (parts.colours !== colours) {
      gl.deleteBuffer(parts.color);
      Object.assign(parts, { colours, color: buffer(colours) });
    }
    if (needsNormals && !parts.normal) parts.normal = buffer(vertexNormals(layer));
    return parts;
  }

  function point(place, made, ...layout) {
    gl.bindBuffer(gl.ARRAY_BUFFER, made);
    gl.vertexAttribPointer(place, 3, ...layout, 0);
  }

  function drawLayer({ layer, colours, isLit }) {
    const shades = Boolean(isLit && layer.faces);
    const parts = partsOf(layer, colours, shades);
    point(position, parts.position, gl.SHORT, false, 8);
    point(color, parts.color, gl.UNSIGNED_BYTE, true, 3);
    if (shades) {
      gl.enableVertexAttribArray(normal);
      point(normal, parts.normal, gl.BYTE, true, 4);
    }
    gl.uniform1f(where("lit"), shades ? 1 : 0);
    gl.uniform1f(where("round_points"), layer.faces ? 0 : 1);
    if (layer.faces) {
      gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, parts.corners);
      gl.drawElements(gl.TRIANGLES, layer.faces.length, gl.UNSIGNED_INT, 0);
    } else gl.drawArrays(gl.POINTS, 0, layer.count);
    if (shades) gl.disableVertexAttribArray(normal);
  }

  function drawLines(lines) {
    if (!kept.has(lines)) {
      const colours = new Uint8Array(3 * lines.length).fill(LINE_GREY);
      kept.set(lines, { position: buffer(new Float32Array(lines.flat())), color: buffer(colours) });
    }
    point(position, kept.get(lines).position, gl.FLOAT, false, 12);
    point(color, kept.get(lines).color, gl.UNSIGNED_BYTE, true, 3);
    gl.uniform1f(where("lit"), 0);
    gl.uniform1f(where("round_points"), 0);
    gl.drawArrays(gl.LINES, 0, lines.length);
  }

  return (pose, scene) => {
    gl.viewport(0, 0, pose.width, pose.height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.uniformMatrix4fv(where("clip_T_model"), false, clipMatrix(pose, scene.distance));
    gl.uniform3fv(where("forward"), pose.forward);
    gl.uniform1f(where("focal"), pose.focal);
    gl.uniform1f(where("size"), scene.pointSize);
    gl.uniform1f(where("least"), scene.least);
    drawLayer(scene);
    if (scene.lines) drawLines(scene.lines);
  };
}

function makeProgram(gl) {
  const program = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX_SHADER], [gl.FRAGMENT_SHADER, FRAGMENT_SHADER]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.bindAttribLocation(program, 0, "position");
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) return null;
  gl.useProgram(program);
  return program;
}

// Model to clip coordinates, column by column.
function clipMatrix({ forward, right, top, eye, focal, shift, width, height }, distance) {
  const near = Math.max(distance * 0.01, 1), far = distance * 4 + 300000;
  const row = (axis, more = 0) => [...axis, more - dot(axis, eye)];
  const rows = [
    row(scaled(sum(right, forward, -shift[0]), (2 * focal) / width)),
    row(scaled(sum(top, forward, -shift[1]), (2 * focal) / height)),
    row(scaled(forward, (far + near) / (far - near)), (2 * far * near) / (near - far)),
    row(forward),
  ];
  return [0, 1, 2, 3].flatMap((i) => rows.map((values) => values[i]));
}
