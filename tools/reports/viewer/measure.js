// The distance between two picked places, in the unit that the page knows, or by a length that the visitor knows.
"use strict";

function makeMeasure(viewer, data, redraw) {
  const [say, marks] = [".measured", ".marks"].map((name) => viewer.querySelector(name));
  const [words, where] = [say.querySelector("b"), say.querySelector("span")];
  const known = viewer.querySelector(".known");
  const line = marks.querySelector("line"), dots = [...marks.querySelectorAll("circle")], label = marks.querySelector("text");
  let isOn = false, places = [];
  let scale = data.step, unitWord = data.unit;

  const apart = () => Math.hypot(...sum(places[1], places[0], -1));
  const inWorld = (place) => sum(data.centre, place, data.step).map((value) => Number(value.toPrecision(7)));

  function lengthInWords(length) {
    const short = unitWord.startsWith("metres") && length < 1 ? ` (${rounded(100 * length)} cm)` : "";
    return `${rounded(length)} ${unitWord}${short}`;
  }

  function tell() {
    say.hidden = !isOn;
    known.hidden = !(isOn && places.length === 2 && data.unit === "units");
    where.textContent = "";
    if (places.length < 2) {
      words.textContent = places.length ? "Now the second place." : "Tap or click two places of the model.";
      return;
    }
    words.textContent = `Distance: ${lengthInWords(apart() * scale)}`;
    where.textContent = `from (${inWorld(places[0]).join(", ")}) to (${inWorld(places[1]).join(", ")})`;
    if (data.unit === "units") where.textContent += "; the real size of this model is not known";
  }

  known.addEventListener("submit", (event) => {
    event.preventDefault();
    const metres = Number(known.querySelector("input").value);
    if (!(metres > 0) || places.length < 2 || apart() === 0) return;
    scale = metres / apart();
    unitWord = "metres, by the length that you gave";
    tell();
    redraw();
  });

  return {
    isOn: () => isOn,
    toggle(on) {
      isOn = on;
      places = [];
      viewer.classList.toggle("measuring", on);
      tell();
      redraw();
    },
    // A place of the model, or null where there was nothing.
    add(place) {
      if (!place) {
        words.textContent = "There is nothing of the model; try beside it.";
        return;
      }
      places = places.length === 2 ? [place] : [...places, place];
      tell();
      redraw();
    },
    // Draws what was picked; ratio: canvas pixels in one of the page.
    draw(pose, ratio) {
      const seen = places.map((place) => project(pose, place).map((value, k) => (k < 2 ? value / ratio : value)));
      const isSeen = (k) => k < seen.length && seen[k][2] > 1;
      dots.forEach((dot, k) => {
        dot.style.display = isSeen(k) ? "" : "none";
        if (isSeen(k)) for (const [name, i] of [["cx", 0], ["cy", 1]]) dot.setAttribute(name, seen[k][i]);
      });
      const both = isSeen(0) && isSeen(1);
      for (const part of [line, label]) part.style.display = both ? "" : "none";
      if (!both) return;
      for (const [name, value] of [["x1", seen[0][0]], ["y1", seen[0][1]], ["x2", seen[1][0]], ["y2", seen[1][1]]]) {
        line.setAttribute(name, value);
      }
      label.setAttribute("x", (seen[0][0] + seen[1][0]) / 2);
      label.setAttribute("y", (seen[0][1] + seen[1][1]) / 2 - 10);
      label.textContent = lengthInWords(apart() * scale).replace(/,.*/, "");
    },
  };
}
