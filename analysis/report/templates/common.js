/* What the other scripts use: elements, the data of the stimuli, and the box that follows the pointer. */
const make = (tag, given = {}, ...inside) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...inside);
  return made;
};

const seen = (() => {
  const found = document.getElementById("stimuli-data");
  if (!found) return null;
  const data = JSON.parse(found.textContent);
  data.stimuli = data.rows.map(row => Object.fromEntries(data.fields.map((name, i) => [name, row[i]])));
  data.at = new Map(data.stimuli.map(stimulus => [stimulus.id, stimulus]));
  data.cleanOf = new Map(data.stimuli.filter(s => s.type === "clean").map(s => [s.reference, s]));
  return data;
})();

const webp = text => "data:image/webp;base64," + text;
const picture = id => (Object.hasOwn(seen.pictures, id) ? webp(seen.pictures[id]) : null);

const kind = stimulus => (stimulus.level === null ? stimulus.type : `${stimulus.type}, level ${stimulus.level}`);

/* right, wrong or unparsed; null where the model was not asked. */
const outcome = (stimulus, model) => {
  const answer = stimulus.answers[model];
  return answer === null ? null : answer === "" ? "unparsed" : answer === stimulus.label ? "right" : "wrong";
};
const MARKS = {right: "✓", wrong: "✗", unparsed: "–"};
const told = (stimulus, model) => {
  const how = outcome(stimulus, model);
  return how === null ? "not asked" : `${MARKS[how]} ${how === "unparsed" ? "names no class" : stimulus.answers[model]}`;
};

const facts = (stimulus, models) => {
  const rows = [["shown", kind(stimulus)], ["truth", stimulus.label]];
  if (stimulus.psnr !== null && stimulus.type !== "clean") rows.push(["PSNR", `${stimulus.psnr.toFixed(1)} dB`]);
  if (stimulus.probe !== null) rows.push([`probe at ${seen.site}`, `${stimulus.encoded ? "✓" : "✗"} ${stimulus.probe}`]);
  for (const model of models) rows.push([model ? `says with ${seen.models[model]} tuned` : "says as loaded", told(stimulus, model)]);
  return make("dl", {}, ...[...rows, ["image", stimulus.id]].flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
};

const tip = make("div", {class: "tip", "aria-hidden": "true"});
document.body.append(tip);
const showTip = (inside, x, y) => {
  tip.replaceChildren(...inside);
  const {width, height} = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - width - 4))}px`;
  tip.style.top = `${y + 14 + height < innerHeight ? y + 14 : Math.max(4, y - height - 14)}px`;
};
const hideTip = () => tip.replaceChildren();
addEventListener("keydown", event => event.key === "Escape" && hideTip());
addEventListener("scroll", hideTip, {passive: true});
