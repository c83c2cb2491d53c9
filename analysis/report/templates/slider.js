/* A clean image over its distorted version, with a bar between them, and where there is one the probe's map. */
const SVG = "http://www.w3.org/2000/svg";
const layer = map => {
  const svg = document.createElementNS(SVG, "svg");
  const grid = map.values.length;
  svg.setAttribute("viewBox", `0 0 ${grid} ${grid}`);
  svg.setAttribute("aria-hidden", "true");
  map.values.forEach((row, y) => row.forEach((share, x) => {
    for (const name of ["cell", ...(map.mask && map.mask[y][x] > 0.5 ? ["mask"] : [])]) {
      const cell = document.createElementNS(SVG, "rect");
      const given = {x: x + 0.03, y: y + 0.03, width: 0.94, height: 0.94, class: name, "fill-opacity": name === "cell" ? 0.75 * share : 0};
      for (const [key, value] of Object.entries(given)) cell.setAttribute(key, value);
      svg.append(cell);
    }
  }));
  return svg;
};

const slider = (clean, distorted, what, map = null) => {
  const top = make("img", {src: distorted, alt: `distorted: ${what}`});
  const bar = make("div", {class: "split"});
  const stage = make("div", {class: "stage"}, make("img", {src: clean, alt: "the reference"}), top, bar);
  const range = make("input", {type: "range", min: 0, max: 100, value: 50, "aria-label": "how much of the image is the reference"});
  const move = () => {
    top.style.clipPath = `inset(0 0 0 ${range.value}%)`;
    bar.style.left = `calc(${range.value}% - 1px)`;
    range.setAttribute("aria-valuetext", `${range.value} % reference`);
  };
  range.addEventListener("input", move);
  move();
  const made = make("div", {class: "slider"}, stage, range, make("div", {class: "ends"}, make("span", {}, "reference"), make("span", {}, what)));
  if (map) {
    const over = layer(map);
    stage.append(over);
    const box = make("input", {type: "checkbox", checked: true, onchange: () => over.toggleAttribute("hidden", !box.checked)});
    made.append(make("label", {}, box, ` the probe’s map at ${map.site}; framed: where the distortion is`));
  }
  return made;
};

const pairs = document.getElementById("pairs");
if (pairs && seen && seen.pairs.length) {
  const place = make("div", {});
  const note = make("p", {class: "soft"});
  const choose = make("select", {onchange: () => show()}, ...seen.pairs.map((pair, i) => make("option", {value: i}, `${pair.map ? "local " : ""}${kind(pair)} (${pair.reference})`)));
  const show = () => {
    const pair = seen.pairs[choose.value];
    place.replaceChildren(slider(webp(seen.clean[pair.clean]), webp(pair.distorted), kind(pair), pair.map));
    note.textContent = pair.shown === "whole" ? "The whole image, without loss." : `A part: ${pair.shown}, without loss.`;
  };
  pairs.append(make("div", {class: "tools"}, make("label", {}, "pair", choose)), place, note);
  show();
} else if (pairs) pairs.closest("section, div.block").hidden = true;
