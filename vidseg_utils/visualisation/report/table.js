// Sort a table by the column whose heading is clicked. Rows with the attribute data-reference stay on top.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  table.querySelectorAll("thead th").forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const before = heading.getAttribute("aria-sort");
      for (const other of table.querySelectorAll("thead th")) other.removeAttribute("aria-sort");
      const text = (row) => row.cells[column].textContent.trim();
      const value = (row) => text(row) === "" ? NaN : Number(text(row).replaceAll(",", "").replace("−", "-"));
      const rows = [...body.rows].filter((row) => !("reference" in row.dataset));
      const numeric = rows.some((row) => !Number.isNaN(value(row)));
      const down = before === null ? numeric : before === "ascending"; // numbers: the largest first
      const compare = (a, b) => {
        if (!numeric) return text(a).localeCompare(text(b));
        const [x, y] = [value(a), value(b)];
        if (Number.isNaN(x) || Number.isNaN(y)) return (Number.isNaN(x) - Number.isNaN(y)) * (down ? -1 : 1);
        return x - y;
      };
      rows.sort((a, b) => (down ? -1 : 1) * compare(a, b));
      body.append(...rows);
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    });
  });
}
