/* Every table sorts by the column whose heading is pressed; what is no number is sorted as text, and a dash comes last. */
const value = cell => {
  const text = (cell ? cell.textContent : "").trim();
  const number = parseFloat(text.replaceAll(",", ""));
  return text === "" || text === "–" ? null : /^[-+]?\.?\d/.test(text) && !Number.isNaN(number) ? number : text.toLowerCase();
};
const before = (a, b) => {
  if (a === null || b === null) return (a === null) - (b === null);
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  return typeof a === "number" ? a - b : a.localeCompare(b);
};
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  if (body.rows.length < 2) continue;
  heads.forEach((head, i) => {
    const press = () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const keyed = [...body.rows].map(row => [value(row.cells[i]), row]);
      keyed.sort(([a], [b]) => (a === null || b === null || !down ? before(a, b) : before(b, a)));
      body.append(...keyed.map(([, row]) => row));
    };
    head.replaceChildren(make("button", {type: "button", onclick: press}, ...head.childNodes));
  });
}
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach(one => (one.open = true)));
