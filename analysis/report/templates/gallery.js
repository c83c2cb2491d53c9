/* All stimuli with their pictures and answers, filtered; one of them opens beside its reference. */
const gallery = document.getElementById("gallery");
if (gallery && seen) {
  const STEP = 32;
  const {stimuli} = seen;
  let found = stimuli, shown = 0;
  const values = name => [...new Set(stimuli.map(s => s[name]))].sort((a, b) => String(a).localeCompare(String(b), "en", {numeric: true}));
  const chosen = (title, options) => {
    const select = make("select", {onchange: () => filter()}, ...[["", "all"], ...options].map(([key, text]) => make("option", {value: key}, text)));
    tools.append(make("label", {}, title, select));
    return select;
  };
  const tools = make("div", {class: "tools"});
  const plain = list => list.filter(x => x !== null).map(x => [x, x]);
  const type = chosen("type", plain(values("type")));
  const level = chosen("level", plain(values("level")));
  const OUTCOMES = plain(["right", "wrong", "unparsed"]);
  const models = seen.models.map((name, i) => chosen(i ? `${name} tuned` : name, OUTCOMES));
  const probe = stimuli.some(s => s.encoded !== null) ? chosen(`probe at ${seen.site}`, plain(["right", "wrong"])) : null;
  const status = make("p", {role: "status", class: "soft"});
  const cards = make("ul", {class: "cards"});
  const more = make("button", {type: "button", class: "more", onclick: () => add()}, "show more");
  const dialog = make("dialog", {"aria-label": "one image"});

  const open = stimulus => {
    const clean = seen.cleanOf.get(stimulus.reference);
    const image = picture(stimulus.id);
    const other = clean && clean !== stimulus ? picture(clean.id) : null;
    const view = image && other ? [slider(other, image, kind(stimulus))] : image ? [make("div", {class: "stage"}, make("img", {src: image, alt: kind(stimulus)}))] : [];
    const close = make("button", {type: "button", onclick: () => dialog.close()}, "close");
    dialog.replaceChildren(...view, facts(stimulus, seen.models.map((_, i) => i)), close);
    dialog.showModal();
  };
  const card = stimulus => {
    const image = picture(stimulus.id);
    const now = seen.shown ? [make("span", {}, `after ${told(stimulus, seen.shown)}`)] : [];
    const how = outcome(stimulus, 0);
    return make("li", {}, make("button", {type: "button", class: "card", onclick: () => open(stimulus)},
      ...(image ? [make("img", {src: image, alt: ""})] : []),
      make("b", {}, kind(stimulus)), make("span", {class: how === "right" ? "good" : "bad"}, `says ${told(stimulus, 0)}`), ...now));
  };
  const add = () => {
    const next = found.slice(shown, shown + STEP);
    cards.append(...next.map(card));
    shown += next.length;
    more.hidden = shown >= found.length;
    const told = found.length === stimuli.length ? "all" : `${found.length} of`;
    status.textContent = `${told} ${stimuli.length} images${shown < found.length ? `, the first ${shown} shown` : ""}`;
  };
  const filter = () => {
    found = stimuli.filter(s => (!type.value || s.type === type.value) && (!level.value || String(s.level) === level.value)
      && models.every((select, i) => !select.value || outcome(s, i) === select.value)
      && (!probe || !probe.value || s.encoded === (probe.value === "right")));
    cards.replaceChildren();
    shown = 0;
    add();
  };
  gallery.append(tools, status, cards, more, dialog);
  filter();
}
