(() => {
  const $ = (id) => document.getElementById(id);
  const table = $("inputs");
  if (!table) return;
  const body = table.tBodies[0], rows = [...body.rows], PAGE = 200;
  let matching = rows, shown = PAGE;

  // The table: sort, filter, and show some rows at a time.
  const value = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.v === undefined ? cell.textContent.trim().toLowerCase() : Number(cell.dataset.v);
  };
  const texts = new Map();
  const text = (row) => {
    if (!texts.has(row)) texts.set(row, row.textContent.toLowerCase());
    return texts.get(row);
  };
  const update = () => {
    const words = $("words").value.toLowerCase().split(/\s+/).filter(Boolean), kind = $("kind").value;
    const fits = (row) => (kind === "" || row.dataset.k.split(" ").includes(kind)) && words.every((word) => text(row).includes(word));
    matching = rows.filter(fits);
    const visible = new Set(matching.slice(0, shown));
    for (const row of rows) if (row.hidden === visible.has(row)) row.hidden = !row.hidden;
    $("matches").textContent = `${matching.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")}`;
    const rest = matching.length - visible.size;
    $("more").hidden = rest === 0;
    $("more").textContent = `Show ${Math.min(rest, PAGE).toLocaleString("en")} more of ${rest.toLocaleString("en")}`;
  };
  const sort = (column, header) => {
    const down = header.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", down ? "descending" : "ascending");
    const keys = new Map(rows.map((row) => [row, value(row, column)]));
    const order = typeof keys.get(rows[0]) === "number" ? (a, b) => a - b : new Intl.Collator("en", { numeric: true }).compare;
    rows.sort((a, b) => (down ? -1 : 1) * order(keys.get(a), keys.get(b)));
    shown = PAGE;
    update();
    body.append(...rows);
  };
  [...table.tHead.rows[0].cells].forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = header.textContent;
    button.addEventListener("click", () => sort(column, header));
    header.replaceChildren(button);
  });
  const refilter = () => { shown = PAGE; update(); };
  let waiting = 0;
  $("words").addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(refilter, 80); });
  $("kind").addEventListener("change", refilter);
  $("filter").addEventListener("submit", (event) => event.preventDefault());
  $("more").addEventListener("click", () => { shown += PAGE; update(); });
  const kinds = new Set(rows.flatMap((row) => row.dataset.k.split(" ")));
  for (const option of [...$("kind").options]) if (option.value !== "" && !kinds.has(option.value)) option.remove();
  table.classList.add("live");
  $("filter").hidden = false;
  update();
  imageViewer(body, () => matching);
})();
