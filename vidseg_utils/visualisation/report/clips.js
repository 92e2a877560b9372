// The end of the viewer's script: a viewer in place of each still picture, made when it comes near the window.
const nearby = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    nearby.unobserve(target);
    const data = JSON.parse(target.querySelector("script").textContent);
    createViewer(target.querySelector(".screen"), data, { frame: data.frames - 1 });
    target.dataset.living = "true";
  }
}, { rootMargin: "600px" });
for (const clip of document.querySelectorAll(".clip")) nearby.observe(clip);
