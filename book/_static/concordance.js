// The concordance filtered and sorted in the page. Without this script the whole table is there, in the article's order.
(() => {
  "use strict";

  const table = document.querySelector("table.concordance, .concordance table");
  const form = document.querySelector(".concordance-filter");
  if (!table || !form) return;

  const body = table.tBodies[0];
  const rows = [...body.rows].map((row, order) => ({
    row,
    order,
    section: row.cells[0].textContent.trim().replace(/ \d+$/, ""),
    verdict: row.cells[2].querySelector("strong").textContent,
    words: row.textContent.toLowerCase(),
  }));
  const distinct = (key) => [...new Set(rows.map((entry) => entry[key]))];

  for (const key of ["section", "verdict"]) {
    for (const value of distinct(key)) form.elements[key].add(new Option(value, value));
  }

  function filter() {
    const { section, verdict, words } = form.elements;
    const wanted = words.value.trim().toLowerCase();
    let shown = 0;
    for (const entry of rows) {
      const keep = (!section.value || entry.section === section.value) &&
        (!verdict.value || entry.verdict === verdict.value) &&
        entry.words.includes(wanted);
      entry.row.hidden = !keep;
      shown += keep;
    }
    form.querySelector("output").textContent = `${shown} of ${rows.length} statements`;
  }

  function sort(heading, value) {
    const up = heading.getAttribute("aria-sort") !== "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", up ? "ascending" : "descending");
    const ordered = [...rows].sort((a, b) => value(a) - value(b) || a.order - b.order);
    body.append(...(up ? ordered : ordered.reverse()).map((entry) => entry.row));
  }

  const verdicts = [...document.querySelectorAll("main ul > li > p > strong, main ul > li > strong")]
    .map((element) => element.textContent);
  const headings = table.tHead.rows[0].cells;
  const orders = [
    [headings[0], (entry) => entry.order],
    [headings[2], (entry) => verdicts.indexOf(entry.verdict)],
  ];
  for (const [heading, value] of orders) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = heading.textContent.trim();
    heading.replaceChildren(button);
    button.addEventListener("click", () => sort(heading, value));
  }

  // A link to a row that the filter hides shows all rows first.
  function arrive() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const row = target?.closest("tr");
    if (!row?.hidden) return;
    form.reset();
    filter();
    row.scrollIntoView();
  }

  form.hidden = false;
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  addEventListener("hashchange", arrive);
  filter();
})();
