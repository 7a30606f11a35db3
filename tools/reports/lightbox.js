// Pictures at full size: a click opens one, arrow keys and buttons go on, Escape or a click closes.
"use strict";
(() => {
  const dialog = document.getElementById("lightbox");
  if (!dialog) return;
  const tiles = [...document.querySelectorAll("button.tile")];
  const picture = dialog.querySelector("img");
  const title = dialog.querySelector(".title");
  const legend = dialog.querySelector(".legend");
  let current = 0;

  function show(index) {
    current = (index + tiles.length) % tiles.length;
    const small = tiles[current].querySelector("img");
    picture.src = small.src;
    picture.alt = small.alt;
    picture.style.setProperty("--shape", small.naturalWidth / Math.max(1, small.naturalHeight));
    title.textContent = small.alt;
    const scale = document.querySelector(`.legends [data-scale="${tiles[current].dataset.scale}"]`);
    legend.replaceChildren(...(scale ? scale.cloneNode(true).childNodes : []));
    if (!dialog.open) dialog.showModal();
  }

  tiles.forEach((tile, index) => tile.addEventListener("click", () => show(index)));
  dialog.addEventListener("click", (event) => {
    const step = event.target.dataset.step;
    if (step) show(current + Number(step));
    else dialog.close();
  });
  dialog.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) show(current + step);
  });
})();
