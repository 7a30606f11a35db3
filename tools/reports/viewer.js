// The cloud: turns around a point of its own. WebGL where there is some, else the processor draws the points.
// Lengths are steps of the int16 positions; vectors are arrays of three numbers.
"use strict";
(() => {
  const holder = document.getElementById("cloud");
  if (!holder) return;
  const canvas = holder.querySelector("canvas");
  const data = JSON.parse(document.getElementById("cloud-data").textContent);
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const xyz = new Int16Array(bytes(data.xyz).buffer);
  const rgb = bytes(data.rgb);

  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  const sum = (a, b, s) => [a[0] + s * b[0], a[1] + s * b[1], a[2] + s * b[2]];
  const scaled = (a, s) => [a[0] * s, a[1] * s, a[2] * s];
  const unit = (a) => scaled(a, 1 / (Math.hypot(...a) || 1));
  const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];

  // ---------------------------------------------------------------- where we look from

  const first = data.views[0];
  // Turning is about `up`, unless the first camera looks along it.
  const up = Math.abs(dot(data.up, first.forward)) < 0.97 && Math.hypot(...data.up) > 0.5 ? data.up : first.up;
  const ahead = unit(sum(first.forward, up, -dot(first.forward, up)));
  const side = cross(ahead, up);
  const look = { target: [0, 0, 0], distance: 1, yaw: 0, pitch: 0, slope: first.slope, size: 1 };

  function lookFrom(view) {
    look.distance = view.depth * 1.12; // a little farther away than the photo, so that nothing touches the border
    look.target = sum(view.at, view.forward, view.depth);
    look.pitch = Math.asin(Math.max(-1, Math.min(1, dot(view.forward, up))));
    look.yaw = Math.atan2(dot(view.forward, side), dot(view.forward, ahead));
    look.slope = view.slope;
    redraw();
  }

  function pose() {
    const level = sum(scaled(ahead, Math.cos(look.yaw)), side, Math.sin(look.yaw));
    const forward = sum(scaled(level, Math.cos(look.pitch)), up, Math.sin(look.pitch));
    const right = unit(cross(level, up));
    const { width, height } = canvas;
    const focal = Math.min(width / look.slope[0], height / look.slope[1]) / 2; // pixels
    return { forward, right, top: cross(right, forward), eye: sum(look.target, forward, -look.distance), focal };
  }

  const pointSize = () => 1.5 * data.spacing * look.size;

  // The cameras as lines: from each place to the corners of its picture.
  const corners = [[-1, -1], [1, -1], [1, 1], [-1, 1]];
  const edges = [];
  for (const view of data.views) {
    const far = 0.07 * view.depth;
    const at = corners.map(([x, y]) => {
      const across = sum(sum(view.forward, view.right, x * view.slope[0]), view.up, y * view.slope[1]);
      return sum(view.at, across, far);
    });
    at.forEach((corner, i) => edges.push(view.at, corner, corner, at[(i + 1) % 4]));
  }
  let showCameras = false;

  // ---------------------------------------------------------------- drawing with WebGL

  const vertexShader = `
    attribute vec3 position; attribute vec3 color; varying vec3 tint;
    uniform mat4 clip_T_cloud; uniform float focal, size, least;
    void main() {
      gl_Position = clip_T_cloud * vec4(position, 1.0);
      gl_PointSize = clamp(size * focal / max(gl_Position.w, 1e-6), least, 48.0);
      tint = color;
    }`;
  const fragmentShader = `
    precision mediump float; varying vec3 tint; uniform float round_points;
    void main() {
      if (round_points > 0.5 && length(gl_PointCoord - 0.5) > 0.5) discard;
      gl_FragColor = vec4(tint, 1.0);
    }`;

  function makeWebGL() {
    const gl = canvas.getContext("webgl", { antialias: true, alpha: true });
    if (!gl) return null;
    const program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, vertexShader], [gl.FRAGMENT_SHADER, fragmentShader]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) return null;
    gl.useProgram(program);
    const buffer = (content) => {
      const made = gl.createBuffer();
      gl.bindBuffer(gl.ARRAY_BUFFER, made);
      gl.bufferData(gl.ARRAY_BUFFER, content, gl.STATIC_DRAW);
      return made;
    };
    const padded = new Int16Array((xyz.length / 3) * 4); // four of two bytes: aligned as graphics cards like it
    for (let i = 0; i < xyz.length / 3; i++) padded.set(xyz.subarray(3 * i, 3 * i + 3), 4 * i);
    const points = { position: buffer(padded), type: gl.SHORT, stride: 8, color: buffer(rgb), count: xyz.length / 3 };
    const lineColors = new Uint8Array(3 * edges.length).fill(150);
    const lines = { position: buffer(new Float32Array(edges.flat())), type: gl.FLOAT, stride: 12 };
    Object.assign(lines, { color: buffer(lineColors), count: edges.length });
    const where = (name) => gl.getUniformLocation(program, name);
    const [position, color] = ["position", "color"].map((name) => gl.getAttribLocation(program, name));
    gl.enableVertexAttribArray(position);
    gl.enableVertexAttribArray(color);
    gl.enable(gl.DEPTH_TEST);

    function drawShape(shape, mode, roundPoints) {
      gl.bindBuffer(gl.ARRAY_BUFFER, shape.position);
      gl.vertexAttribPointer(position, 3, shape.type, false, shape.stride, 0);
      gl.bindBuffer(gl.ARRAY_BUFFER, shape.color);
      gl.vertexAttribPointer(color, 3, gl.UNSIGNED_BYTE, true, 3, 0);
      gl.uniform1f(where("round_points"), roundPoints);
      gl.drawArrays(mode, 0, shape.count);
    }

    return ({ forward, right, top, eye, focal }) => {
      const { width, height } = canvas;
      const near = Math.max(look.distance * 0.01, 1), far = look.distance * 4 + 300000;
      const back = scaled(forward, -1), depth = [(far + near) / (near - far), (2 * far * near) / (near - far)];
      const rows = [
        [...scaled(right, (2 * focal) / width), (-2 * focal * dot(right, eye)) / width],
        [...scaled(top, (2 * focal) / height), (-2 * focal * dot(top, eye)) / height],
        [...scaled(back, depth[0]), -depth[0] * dot(back, eye) + depth[1]],
        [...forward, -dot(forward, eye)],
      ];
      gl.viewport(0, 0, width, height);
      gl.clearColor(0, 0, 0, 0);
      gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
      gl.uniformMatrix4fv(where("clip_T_cloud"), false, [0, 1, 2, 3].flatMap((i) => rows.map((row) => row[i])));
      gl.uniform1f(where("focal"), focal);
      gl.uniform1f(where("size"), pointSize());
      gl.uniform1f(where("least"), 1.2 * pixelRatio());
      drawShape(points, gl.POINTS, 1);
      if (showCameras) drawShape(lines, gl.LINES, 0);
    };
  }

  // ---------------------------------------------------------------- drawing without it

  function makePlain() {
    const context = canvas.getContext("2d");
    const colors = new Uint32Array(rgb.length / 3);
    for (let i = 0; i < colors.length; i++) {
      colors[i] = 0xff000000 | (rgb[3 * i + 2] << 16) | (rgb[3 * i + 1] << 8) | rgb[3 * i];
    }
    return ({ forward, right, top, eye, focal }) => {
      const { width, height } = canvas;
      const picture = context.createImageData(width, height);
      const pixels = new Uint32Array(picture.data.buffer);
      const nearest = new Float32Array(width * height).fill(Infinity);
      const [offsetX, offsetY, offsetZ] = [right, top, forward].map((axis) => dot(axis, eye));
      for (let i = 0; i < colors.length; i++) {
        const x = xyz[3 * i], y = xyz[3 * i + 1], z = xyz[3 * i + 2];
        const depth = forward[0] * x + forward[1] * y + forward[2] * z - offsetZ;
        if (depth <= 1) continue;
        const scale = focal / depth;
        const wide = Math.max(1, Math.min(8, Math.round(pointSize() * scale)));
        const left = Math.round(width / 2 + scale * (right[0] * x + right[1] * y + right[2] * z - offsetX) - wide / 2);
        const over = Math.round(height / 2 - scale * (top[0] * x + top[1] * y + top[2] * z - offsetY) - wide / 2);
        for (let row = Math.max(0, over); row < Math.min(height, over + wide); row++) {
          for (let column = Math.max(0, left); column < Math.min(width, left + wide); column++) {
            const place = row * width + column;
            if (depth < nearest[place]) {
              nearest[place] = depth;
              pixels[place] = colors[i];
            }
          }
        }
      }
      context.putImageData(picture, 0, 0);
      if (showCameras) drawEdges(context, { forward, right, top, eye, focal });
    };
  }

  function drawEdges(context, { forward, right, top, eye, focal }) {
    const flat = edges.map((point) => {
      const seen = sum(point, eye, -1), depth = dot(seen, forward);
      return [canvas.width / 2 + (focal * dot(seen, right)) / depth, canvas.height / 2 - (focal * dot(seen, top)) / depth, depth];
    });
    context.strokeStyle = "#969696";
    context.beginPath();
    for (let i = 0; i < flat.length; i += 2) {
      if (flat[i][2] <= 1 || flat[i + 1][2] <= 1) continue;
      context.moveTo(flat[i][0], flat[i][1]);
      context.lineTo(flat[i + 1][0], flat[i + 1][1]);
    }
    context.stroke();
  }

  // ---------------------------------------------------------------- when

  const webgl = makeWebGL();
  let draw = webgl || makePlain();
  canvas.dataset.renderer = webgl ? "webgl" : "2d";
  canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
  canvas.addEventListener("webglcontextrestored", () => {
    draw = makeWebGL();
    redraw();
  });

  const pixelRatio = () => (webgl ? Math.min(2, window.devicePixelRatio || 1) : 1);
  let waiting = false;
  function redraw() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      const width = Math.max(1, Math.round(canvas.clientWidth * pixelRatio()));
      const height = Math.max(1, Math.round(canvas.clientHeight * pixelRatio()));
      if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
      draw(pose());
    });
  }
  new ResizeObserver(redraw).observe(canvas);

  // ---------------------------------------------------------------- mouse, fingers, keys, buttons

  function turn(x, y) {
    look.yaw += x;
    look.pitch = Math.max(-1.5, Math.min(1.5, look.pitch - y));
  }
  function move(x, y) {
    const { right, top, focal } = pose();
    const step = (look.distance * pixelRatio()) / focal;
    look.target = sum(sum(look.target, right, -x * step), top, y * step);
  }
  const zoom = (factor) => (look.distance = Math.max(10, Math.min(3e6, look.distance * factor)));

  const fingers = new Map();
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const [x, y] = [event.clientX - before[0], event.clientY - before[1]];
    if (fingers.size === 2) {
      const [other] = [...fingers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
      const apart = (place) => Math.hypot(place[0] - other[0], place[1] - other[1]) || 1;
      zoom(apart(before) / apart([event.clientX, event.clientY]));
      move(x / 2, y / 2);
    } else if (event.buttons & 2 || event.shiftKey) move(x, y);
    else turn(x * 0.006, y * 0.006);
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
    redraw();
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, (event) => fingers.delete(event.pointerId));
  }
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp((event.deltaMode === 1 ? 20 : 1) * event.deltaY * 0.001));
    redraw();
  }, { passive: false });
  canvas.addEventListener("dblclick", () => lookFrom(first));

  const keys = {
    ArrowLeft: () => turn(0.08, 0), ArrowRight: () => turn(-0.08, 0), ArrowUp: () => turn(0, -0.08),
    ArrowDown: () => turn(0, 0.08), "+": () => zoom(0.9), "-": () => zoom(1.1), 0: () => lookFrom(first),
  };
  canvas.addEventListener("keydown", (event) => {
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
    redraw();
  });

  const press = (name, action) => holder.querySelector(`[data-do="${name}"]`).addEventListener("click", action);
  const toggle = (event, on) => event.currentTarget.setAttribute("aria-pressed", String(on));
  press("reset", () => lookFrom(data.views[Number(choice.value)] || first));
  press("smaller", () => ((look.size /= 1.25), redraw()));
  press("larger", () => ((look.size *= 1.25), redraw()));
  press("cameras", (event) => (toggle(event, (showCameras = !showCameras)), redraw()));
  press("background", (event) => toggle(event, holder.classList.toggle("bright")));
  const choice = holder.querySelector("select");
  data.views.forEach((view, i) => choice.add(new Option(view.name, String(i))));
  choice.addEventListener("change", () => lookFrom(data.views[Number(choice.value)]));

  lookFrom(first);
})();
