/* The plane of stimuli: the nearest one under the pointer, the next one by the arrow keys, and single classes by the legend. */
for (const svg of document.querySelectorAll("svg.plane")) {
  if (!seen) break;
  const dots = [...svg.querySelectorAll(".dot")];
  const spots = dots.map(dot => ({dot, id: dot.dataset.id, x: +dot.getAttribute("x"), y: +dot.getAttribute("y")}));
  const order = spots.filter(spot => spot.dot.dataset.when === "before");
  const rings = [...svg.querySelectorAll(".ring")];
  const live = svg.parentElement.parentElement.querySelector("[role=status]");
  let current = -1;
  const show = (spot, x, y) => {
    const both = spots.filter(other => other.id === spot.id);
    rings.forEach((ring, i) => {
      ring.setAttribute("cx", both[i] ? both[i].x : -99);
      ring.setAttribute("cy", both[i] ? both[i].y : -99);
    });
    const stimulus = seen.at.get(spot.id);
    if (!stimulus) return showTip([spot.id], x, y);
    const image = picture(spot.id);
    showTip([...(image ? [make("img", {src: image, alt: ""})] : []), facts(stimulus, seen.shown ? [0, seen.shown] : [0])], x, y);
    return stimulus;
  };
  const hide = () => {
    rings.forEach(ring => ring.setAttribute("cx", -99));
    hideTip();
  };
  svg.addEventListener("pointermove", event => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    let best = null, least = 14;
    for (const spot of spots) {
      const far = Math.hypot(spot.x - at.x, spot.y - at.y);
      if (far < least && !spot.dot.classList.contains("off")) [best, least] = [spot, far];
    }
    if (best) show(best, event.clientX, event.clientY);
    else hide();
  });
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("blur", hide);
  svg.addEventListener("keydown", event => {
    const step = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1}[event.key];
    const there = order.filter(spot => !spot.dot.classList.contains("off"));
    if (!step || !there.length) return;
    event.preventDefault();
    current = (current + step + there.length) % there.length;
    const box = there[current].dot.getBoundingClientRect();
    const stimulus = show(there[current], box.right, box.bottom);
    if (stimulus) live.textContent = `${kind(stimulus)}; truth ${stimulus.label}; says ${told(stimulus, 0)}${seen.shown ? `, after tuning ${told(stimulus, seen.shown)}` : ""}`;
  });
  const buttons = [...svg.parentElement.parentElement.querySelectorAll(".legend button")];
  const pick = button => {
    const on = button.getAttribute("aria-pressed") !== "true";
    buttons.forEach(other => other.setAttribute("aria-pressed", on && other === button));
    dots.forEach(dot => dot.classList.toggle("off", on && dot.dataset.shade !== button.dataset.shade));
    current = -1;
  };
  buttons.forEach(button => button.addEventListener("click", () => pick(button)));
}
