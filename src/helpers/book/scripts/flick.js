// Two clips in one frame (players.py): a press changes picture and sound at the same moment, and a line runs with the sound.
window.flick ??= (host, pair) => {  // pair: twice {name, image, audio}
  const make = (tag, props, ...inside) => {
    const made = Object.assign(document.createElement(tag), props);
    made.append(...inside);
    return made;
  };
  const head = make("i", {className: "flick-head"}), shown = make("span", {className: "flick-name"});
  const hint = make("span", {className: "flick-hint"});
  const images = pair.map(({image}) => make("img", {src: image.src, alt: image.alt}));
  const view = make("button", {type: "button", className: "flick-view"}, ...images, head);
  const play = make("button", {type: "button", className: "flick-play"});
  let at = 0;
  const now = () => pair[at].audio;
  const show = () => {
    images.forEach((image, i) => image.hidden = i !== at);
    shown.textContent = pair[at].name, hint.textContent = `Press the picture for: ${pair[1 - at].name}`;
    view.setAttribute("aria-label", `Spectrogram of ${pair[at].name}. Press to change to ${pair[1 - at].name}`);
    play.textContent = now().paused ? "Play" : "Pause";
    head.style.left = `${100 * (now().currentTime / now().duration || 0)}%`;
  };
  const run = () => {
    show();
    if (!now().paused && host.isConnected) requestAnimationFrame(run);
  };
  view.onclick = () => {
    const before = now(), playing = !before.paused;
    at = 1 - at;
    if (now() !== before) now().currentTime = before.currentTime;
    if (playing) now().play().catch(() => {}), before.pause();
    run();
  };
  play.onclick = () => now().paused ? now().play().catch(() => {}) : now().pause();
  pair.forEach(({audio}, i) => {
    audio.addEventListener("play", () => { at = i; run(); });
    for (const event of ["pause", "seeked"]) audio.addEventListener(event, show);
  });
  shown.setAttribute("role", "status");
  host.replaceChildren(make("div", {className: "flick"}, view, make("div", {className: "flick-bar"}, play, shown, hint)));
  show();
};
for (const row of document.querySelectorAll(".players-pair:not([data-ready])")) {
  row.dataset.ready = "";
  const pair = [...row.querySelectorAll(".player")].slice(0, 2).map(player => ({
    name: player.querySelector(".player-label").textContent,
    image: player.querySelector("img"), audio: player.querySelector("audio"),
  }));
  const open = document.createElement("button"), host = document.createElement("div");
  Object.assign(open, {type: "button", className: "flick-open", textContent: "Compare in one frame"});
  open.onclick = () => { open.remove(); window.flick(host, pair); host.querySelector("button").focus(); };
  row.after(open, host);
}
