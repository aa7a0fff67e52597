// The memorisation map (memorisation.py): a cell plays what its model made of the chosen prompt, beside the training clip.
for (const root of document.querySelectorAll(".memorisation:not([data-ready])")) {
  root.dataset.ready = "";
  const prompts = JSON.parse(root.querySelector(".memorisation-facts").textContent), form = root.querySelector("form");
  const cells = [...root.querySelectorAll("[data-cell]")], said = root.querySelector(".memorisation-said");
  const lists = [...root.querySelectorAll(".memorisation-clips section")].map(list => [...list.querySelectorAll(".player")]);
  const heardOf = cell => prompts[form.elements.prompt.value].heard[cell.dataset.cell];
  const tell = cell => {
    const [, , position, near] = heardOf(cell);
    const at = position === null ? "" : `, at position ${position.toFixed(2)}`;
    const is = near === null ? "may be near-exact or not, which is undefined" : near ? "is near-exact" : "is not near-exact";
    return `${cell.dataset.said}. This prompt’s clip ${is}${at}.`;
  };
  const part = (list, i) => {
    const player = lists[list][i];
    return {name: player.querySelector(".player-label").textContent,
      image: player.querySelector("img"), audio: player.querySelector("audio")};
  };

  function paint() {
    for (const key of root.querySelectorAll("[data-by]")) key.hidden = key.dataset.by !== form.elements.by.value;
    for (const cell of cells) {
      const heard = heardOf(cell), value = form.elements.by.value === "rate" ? +cell.dataset.rate : heard?.[2];
      cell.disabled = !heard;
      cell.style.setProperty("--value", `${100 * Math.min(1, Math.max(0, value || 0))}%`);
      cell.classList.toggle("memorisation-mark", Boolean(heard?.[3]));
      if (heard) cell.setAttribute("aria-label", tell(cell)), cell.title = cell.dataset.said;
      else cell.setAttribute("aria-label", `${cell.dataset.said}. No clip of this prompt.`);
    }
    const open = cells.filter(cell => !cell.disabled);
    if (!open.some(cell => cell.tabIndex === 0)) open.forEach((cell, i) => cell.tabIndex = i ? -1 : 0);
  }

  function hear(cell, play) {
    const list = form.elements.prompt.value, [made, own] = heardOf(cell);
    for (const other of cells) other.setAttribute("aria-pressed", other === cell);
    root.querySelectorAll("audio").forEach(audio => audio.pause());
    said.textContent = tell(cell);
    window.flick(root.querySelector(".memorisation-heard"), [part(list, made), part(list, own)]);
    if (play) part(list, made).audio.play().catch(() => {});  // a browser may want a press on the player itself
  }

  // Arrows go to the nearest cell that way, as it stands on the page; Tab leaves the map
  root.querySelector(".memorisation-grid").onkeydown = event => {
    const way = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[event.key];
    if (!way) return;
    event.preventDefault();
    const middle = cell => { const box = cell.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; };
    const from = middle(event.target);
    const far = cell => {
      const [x, y] = middle(cell).map((value, i) => value - from[i]);
      const ahead = x * way[0] + y * way[1], aside = Math.abs(way[0] ? y : x);
      return ahead > 1 ? ahead + 4 * aside : Infinity;
    };
    const next = cells.filter(cell => !cell.disabled && cell !== event.target).sort((a, b) => far(a) - far(b))[0];
    if (next && far(next) < Infinity) event.target.tabIndex = -1, next.tabIndex = 0, next.focus();
  };
  for (const cell of cells) cell.tabIndex = -1, cell.onclick = () => {
    cells.forEach(other => other.tabIndex = other === cell ? 0 : -1);
    hear(cell, true);
  };
  form.oninput = event => {
    paint();
    if (event.target.name === "by") return;  // what sounds sounds on
    const pressed = cells.find(cell => cell.getAttribute("aria-pressed") === "true");
    if (pressed && !pressed.disabled) hear(pressed, false);
  };
  form.onsubmit = event => event.preventDefault();
  root.querySelector(".memorisation-play").hidden = false;
  paint();
}
