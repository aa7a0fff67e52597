// Blind pairs and the listening lab (listening.py): one pair at a time, nothing told before the answer.
for (const root of document.querySelectorAll(".listening:not([data-ready])")) {
  root.dataset.ready = "";
  const {kind, answers, study, seed: drawn} = JSON.parse(root.querySelector(".listening-facts").textContent);
  const pairs = [...root.querySelectorAll(".listening-pair")], isLab = kind === "lab";
  const make = (tag, text = "", props = {}) => Object.assign(document.createElement(tag), {textContent: text}, props);
  const bar = make("p", "", {className: "listening-count"}), told = make("p", "", {className: "listening-told"});
  const choices = make("div", "", {className: "listening-answers"}), foot = make("div");
  told.setAttribute("role", "status");
  const head = make("div"), both = make("div"), key = `listening-lab ${study}`;
  for (const pair of pairs) {
    const answer = pair.querySelector("details");
    pair.told = answer?.querySelector("p").textContent;
    pair.views = [...answer?.querySelectorAll("img") ?? []];
    answer?.remove();
  }
  for (const audio of root.querySelectorAll("audio[data-of]")) {  // sounds that the page holds already
    const player = document.getElementById(audio.dataset.of);
    audio.src = player.src;
    if (player.dataset.start) audio.dataset.start = player.dataset.start;
  }
  root.prepend(head, bar);
  root.append(choices, told, foot, both);

  // mulberry32: the same numbers from the same seed on every machine
  const stream = state => () => {
    state = state + 0x6D2B79F5 >>> 0;
    let t = Math.imul(state ^ state >>> 15, state | 1);
    t ^= t + Math.imul(t ^ t >>> 7, t | 61);
    return ((t ^ t >>> 14) >>> 0) / 4294967296;
  };
  // Fisher and Yates; then as many equal blocks as there are catch trials, each with one of them, whose kinds take turns
  const dealt = seed => {
    const random = stream(seed), below = n => Math.floor(random() * n), order = [...pairs];
    for (let i = order.length - 1; i > 0; i--) {
      const j = below(i + 1);
      [order[i], order[j]] = [order[j], order[i]];
    }
    const isCatch = pair => pair.dataset.catch === "true";
    const rest = order.filter(pair => !isCatch(pair)), caught = order.filter(isCatch), n = caught.length;
    const turn = pair => caught.filter(other => other.dataset.right === pair.dataset.right).indexOf(pair);
    return !n ? rest : [...caught].sort((a, b) => turn(a) - turn(b)).flatMap((pair, i) => {
      const block = rest.slice(i * rest.length / n, (i + 1) * rest.length / n);
      block.splice(below(block.length + 1), 0, pair);
      return block;
    });
  };

  let order = pairs, at = 0, given = {};
  const name = pair => pair.dataset.name;
  const button = (text, act, props = {}) => make("button", text, {type: "button", onclick: act, ...props});

  function show(focus = true) {
    pairs.forEach(pair => pair.hidden = pair !== order[at]);
    root.querySelectorAll("audio").forEach(audio => audio.pause());
    for (const part of [choices, foot, both]) part.replaceChildren();
    told.textContent = "";
    if (at >= order.length) return finish();
    const pair = order[at];
    bar.textContent = `Pair ${at + 1} of ${order.length}`;
    for (const [value, text] of Object.entries(answers[pair.dataset.question]))
      choices.append(button(text, () => answer(pair, value), {value}));
    if (isLab) foot.append(...(at ? [button("Back", () => { at--; show(); })] : []), ...save());
    if (given[name(pair)]) press(given[name(pair)].grade);
    if (focus) choices.firstChild.focus({preventScroll: true});
  }
  const press = value => {
    for (const choice of choices.children) choice.setAttribute("aria-pressed", choice.value === value);
  };

  function answer(pair, value) {
    given[name(pair)] = {grade: value, order: at + 1, seed: +seed.value};
    press(value);
    if (isLab) return keep(), at++, show();
    for (const choice of choices.children) choice.disabled = true;
    told.textContent = `${value === pair.dataset.right ? "Right." : "Wrong."} ${pair.told}`;
    const next = button(at + 1 < order.length ? "Next pair" : "Your score", () => { at++; show(); }, {className: "listening-next"});
    foot.replaceChildren(next);
    const audio = pair.querySelectorAll("audio");
    if (pair.views.length) window.flick(both, pair.views.map((image, i) => ({name: "AB"[i], image, audio: audio[i]})));
    next.focus({preventScroll: true});
  }

  function finish() {
    bar.textContent = "";
    if (isLab) {
      told.textContent = "Done. Save your grades: nothing leaves this page unless you send the file.";
      return foot.replaceChildren(button("Back", () => { at--; show(); }), ...save());
    }
    const of = (question, who) => {
      const asked = pairs.filter(pair => pair.dataset.question === question && who(pair)); // the rule may be silent
      return [asked.filter(pair => who(pair) === pair.dataset.right).length, asked.length];
    };
    const table = make("table"), mine = pair => given[name(pair)].grade, its = pair => pair.dataset.rule;
    const line = (cells, head) => {
      const row = table.insertRow();
      cells.forEach((text, i) => row.append(head || !i ? make("th", text, {scope: head ? "col" : "row"}) : make("td", text)));
    };
    const text = ([right, asked]) => `${right} of ${asked}`;
    line(["question", "you", "guessing", "the rule"], true);
    const which = of("which", mine), same = of("same", mine);
    line(["Which is the training clip?", text(which), `${which[1] / 2}`, "not asked: it holds the training set"]);
    line(["Copy or not?", text(same), `${same[1] / 2}`, text(of("same", its))]);
    told.textContent = `The ${same[1]} copy-or-not pairs were drawn at random, by seed ${drawn}, from altered copies and honest clips, whatever they score.`
      + " So few pairs measure neither of you well. Chapter 7 has the rule's rates over all clips of known kind.";
    foot.replaceChildren(table, button("Once more", () => { at = 0, given = {}; show(); }));
    foot.firstChild.tabIndex = -1, foot.firstChild.focus({preventScroll: true});
  }

  // The lab: who listens, from which seed; kept in this browser; out as CSV
  const who = make("input", "", {name: "listener", autocomplete: "off", maxLength: 40});
  const seed = make("input", "", {name: "seed", type: "number", min: 0, max: 4294967295, step: 1});
  const keep = () => {
    try { localStorage.setItem(key, JSON.stringify({listener: who.value, seed: +seed.value, given})); } catch { /* private window */ }
  };
  const inert = text => text.replace(/^[=+\-@\t\r]/, "'$&");  // no formula where it is opened
  const cell = text => /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  function csv() {
    const listener = who.value.trim().replace(/^[=+\-@\t\r]+/, "");
    const rows = order.filter(pair => given[name(pair)]).map(pair => {
      const {grade, order: heard, seed: from} = given[name(pair)], {query, reference} = pair.dataset;
      return [name(pair), query, reference, grade, listener, pair.dataset.catch, heard, from];
    });
    const header = ["pair_id", "query", "reference", "grade", "listener", "is_catch", "order", "seed"];
    return [header, ...rows].map(row => row.map(value => cell(inert(String(value)))).join(",") + "\n").join("");
  }
  root.csv = csv;
  const unnamed = make("span", "Write your name or initials above to save: files without a name cannot be put together.");
  function save() {
    const file = `labels-${who.value.replace(/[^\p{L}\p{N}_-]+/gu, "")}.csv`, named = /[\p{L}\p{N}]/u.test(who.value);
    unnamed.hidden = named;
    return [button(`Save ${Object.keys(given).length} grades as CSV`, () => {
      const link = make("a", "", {href: URL.createObjectURL(new Blob([csv()], {type: "text/csv"})), download: file});
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    }, {className: "listening-save", disabled: !named}), unnamed];
  }
  function begin(fresh) {
    if (fresh) given = {};
    seed.value = Math.min(4294967295, Math.max(0, Math.floor(+seed.value) || 0));
    order = dealt(+seed.value);
    at = order.findIndex(pair => !given[name(pair)]);
    if (at < 0) at = order.length;
    keep();
    show(false);
  }
  if (!isLab) show(false);
  else {
    let kept = {};
    try { kept = JSON.parse(localStorage.getItem(key)) || {}; } catch { /* nothing kept */ }
    given = Object.fromEntries(Object.entries(kept.given || {}).filter(([id]) => pairs.some(pair => name(pair) === id)));
    who.value = kept.listener || "", seed.value = kept.seed ?? 1;
    for (const [text, input] of [["Your name or initials", who], ["Seed of the order", seed]]) {
      const label = make("label", text);
      label.append(input);
      head.append(label);
    }
    who.oninput = () => { keep(), root.querySelector(".listening-save").replaceWith(save()[0]); };
    seed.onchange = () => begin(false);
    const asked = n => `Start anew? ${n === 1 ? "The one grade" : `All ${n} grades`} given here will be deleted.`;
    head.append(button("Start anew", () => { const n = Object.keys(given).length; if (!n || confirm(asked(n))) begin(true); }));
    begin(false);
  }
}
