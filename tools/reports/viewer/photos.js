// A photo with the model as its camera sees it: one beside the other, or the photo over the model.
"use strict";

function makePhotos(viewer, data, look, redraw) {
  const thumbs = [...viewer.querySelectorAll(".thumb")];
  const bar = viewer.querySelector(".photo-bar");
  const [beside, over] = [".beside", ".over"].map((name) => viewer.querySelector(name));
  const slider = bar.querySelector("input"), name = bar.querySelector(".name");
  const buttons = [...bar.querySelectorAll("[data-photo]")];
  let chosen = null, way = "over", isExact = false;

  // What the page shows larger anyway is not in it twice.
  for (const thumb of thumbs) {
    const picture = thumb.querySelector("img"), tile = document.querySelector(`[data-view="${thumb.dataset.of}"] .tile img`);
    if (!picture.getAttribute("src") && tile) picture.src = tile.src;
  }

  function show() {
    viewer.classList.toggle("with-photo", chosen !== null);
    viewer.classList.toggle("photo-beside", chosen !== null && way === "beside");
    bar.hidden = chosen === null;
    beside.hidden = chosen === null || way !== "beside";
    over.hidden = chosen === null || way !== "over";
    slider.parentElement.hidden = way !== "over";
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.photo === way));
    thumbs.forEach((thumb, k) => thumb.setAttribute("aria-pressed", String(k === chosen)));
    if (chosen !== null) {
      const picture = thumbs[chosen].querySelector("img");
      for (const large of [beside, over]) [large.src, large.alt] = [picture.src, picture.alt];
      name.textContent = data.views[chosen].name;
    }
    redraw();
  }

  function goTo(k) {
    isExact = false;
    look.fly(k, () => {
      isExact = true;
    });
  }

  function choose(k) {
    chosen = k;
    show();
    goTo(k);
    // Only the strip itself moves, not the page.
    const strip = thumbs[k].parentElement;
    strip.scrollTo({ left: thumbs[k].offsetLeft - (strip.clientWidth - thumbs[k].clientWidth) / 2, behavior: "smooth" });
  }

  function close() {
    chosen = null;
    show();
  }

  thumbs.forEach((thumb, k) => thumb.addEventListener("click", () => choose(k)));
  for (const button of buttons) {
    button.addEventListener("click", () => {
      way = button.dataset.photo;
      show();
      if (!isExact) goTo(chosen);
    });
  }
  slider.addEventListener("input", () => (isExact || look.isFlying() ? redraw() : goTo(chosen)));
  bar.querySelector("[data-step='-1']").addEventListener("click", () => choose((chosen + thumbs.length - 1) % thumbs.length));
  bar.querySelector("[data-step='1']").addEventListener("click", () => choose((chosen + 1) % thumbs.length));
  bar.querySelector("[data-close]").addEventListener("click", close);

  return {
    chosen: () => chosen,
    choose,
    close,
    goTo,
    // The model is seen from elsewhere now.
    left() {
      isExact = false;
    },
    // Lays the photo over the model as its camera sees it; only there does it fit.
    draw(pose, ratio) {
      if (chosen === null || way !== "over") return;
      const { slope } = data.views[chosen];
      over.style.opacity = isExact ? Number(slider.value) / 100 : 0;
      over.style.width = `${(2 * slope[0] * pose.focal) / ratio}px`;
      over.style.height = `${(2 * slope[1] * pose.focal) / ratio}px`;
    },
  };
}
