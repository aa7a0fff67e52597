// The pages of an audit (audit_page.py): sounds begin at the match, and a pair can be switched while it plays.
for (const audio of document.querySelectorAll("audio[data-start]")) {
  const begin = () => audio.currentTime = +audio.dataset.start;
  if (audio.readyState) begin();
  else audio.addEventListener("loadedmetadata", begin, {once: true});
}
for (const pair of document.querySelectorAll(".pair")) {
  const [a, b] = pair.querySelectorAll("audio");
  const button = Object.assign(document.createElement("button"), {type: "button", className: "switch", textContent: "Switch between A and B"});
  let last = b;
  for (const audio of [a, b]) audio.addEventListener("play", () => last = audio);
  button.onclick = () => {
    const other = last === a ? b : a;
    if (!last.paused) other.currentTime = last.currentTime;
    last.pause();
    (last = other).play();
  };
  pair.append(button);
}
