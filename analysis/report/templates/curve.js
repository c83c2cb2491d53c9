/* The survival curve: what each place holds, under the pointer and by the arrow keys. */
for (const svg of document.querySelectorAll("svg.curve")) {
  const columns = [...svg.querySelectorAll(".column")];
  const cursor = svg.querySelector(".cursor");
  const show = (column, x, y) => {
    cursor.setAttribute("x1", column.dataset.at);
    cursor.setAttribute("x2", column.dataset.at);
    cursor.style.visibility = "visible";
    const [title, ...lines] = column.dataset.tip.split("\n");
    showTip([make("b", {}, title), "\n" + lines.join("\n")], x, y);
  };
  const hide = () => {
    cursor.style.visibility = "hidden";
    hideTip();
  };
  columns.forEach((column, i) => {
    column.addEventListener("pointermove", event => show(column, event.clientX, event.clientY));
    column.addEventListener("pointerleave", hide);
    column.addEventListener("blur", hide);
    column.addEventListener("focus", () => {
      if (!column.matches(":focus-visible")) return;
      const box = column.getBoundingClientRect();
      show(column, box.right, box.top + box.height / 3);
    });
    column.addEventListener("keydown", event => {
      const to = {ArrowRight: i + 1, ArrowLeft: i - 1, Home: 0, End: columns.length - 1}[event.key];
      if (to === undefined) return;
      event.preventDefault();
      const next = columns[Math.max(0, Math.min(to, columns.length - 1))];
      column.setAttribute("tabindex", -1);
      next.setAttribute("tabindex", 0);
      next.focus();
    });
  });
}
