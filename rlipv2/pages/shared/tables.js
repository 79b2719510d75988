"use strict";
// Tables with data-sortable sort by a click on a header, search fields with data-filters="ID" hide rows of a table.
for (const table of document.querySelectorAll("table[data-sortable]")) {
  const body = table.tBodies[0], headers = [...table.tHead.rows[0].cells];
  const values = new Intl.Collator(undefined, {numeric: true});
  const key = (row, column) => {
    const cell = row.cells[column], number = cell.dataset.value ?? cell.textContent.replaceAll(",", "").trim();
    return number === "" || Number.isNaN(Number(number)) ? null : Number(number);
  };
  const compare = (a, b, column, sign) => {
    const [x, y] = [key(a, column), key(b, column)];
    if (x !== null && y !== null) return sign * (x - y);
    if (x !== null || y !== null) return x === null ? 1 : -1;  // what has no number comes last, either way
    return sign * values.compare(a.cells[column].textContent, b.cells[column].textContent);
  };
  headers.forEach((header, column) => {
    header.tabIndex = 0;
    const sort = () => {
      // words begin with A, numbers with the largest
      const words = [...body.rows].every((row) => key(row, column) === null);
      const before = header.getAttribute("aria-sort");
      const descending = before ? before === "ascending" : !words;
      headers.forEach((other) => other.removeAttribute("aria-sort"));
      header.setAttribute("aria-sort", descending ? "descending" : "ascending");
      body.append(...[...body.rows].sort((a, b) => compare(a, b, column, descending ? -1 : 1)));
    };
    header.addEventListener("click", sort);
    header.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      sort();
    });
  });
}
for (const field of document.querySelectorAll("input[data-filters]")) {
  const table = document.getElementById(field.dataset.filters);
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of table.tBodies[0].rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
  });
}
