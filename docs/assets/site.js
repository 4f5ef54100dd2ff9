// Wide tables scroll sideways: by keyboard, too.
addEventListener("load", () => {
  for (const table of document.querySelectorAll(".md-typeset__scrollwrap")) table.tabIndex = 0;
});
// A flag is found by its name: the search takes a leading dash for "without".
document.querySelector(".md-search__input")?.addEventListener("input", ({ target }) => {
  if (target.value.startsWith("-")) target.value = target.value.replace(/^-+/, "");
}, true);
