"use strict";
(() => {
  const list = document.getElementById("images"), rows = [...list.children];
  imageViewer(list, () => rows);

  // What is wrong with a file is the text of the response in place of its image.
  const explain = async (image) => {
    const problem = image.closest("li").querySelector(".problem");
    try {
      const response = await fetch(image.src);
      const words = await response.text();
      if (image.alt === "decoded") problem.textContent = words; // an original of another size is left out
    } catch {
      problem.textContent = "vaetools view has ended.";
    }
    image.closest(".shot").remove();
  };
  for (const image of list.querySelectorAll("img")) {
    image.addEventListener("error", () => explain(image));
    if (image.complete && image.naturalWidth === 0 && image.loading !== "lazy") explain(image);
  }

  // The program ends when no page is open any more.
  const beat = new EventSource("open");
  beat.addEventListener("error", () => {
    document.getElementById("status").textContent = "vaetools view has ended: images that are not displayed yet cannot be loaded.";
  });
  beat.addEventListener("open", () => list.classList.add("live"));

  if (rows.length === 1) list.querySelector(".shot:last-child")?.click();
})();
