// A tab keeps the reader's place (size_tabs.py): it leads to the section that is being read, as far below its heading, as #section~pixels.
{
  const tabs = document.currentScript.previousElementSibling;
  const below = section => Math.round(-section.getBoundingClientRect().top);
  tabs.addEventListener("click", event => {
    const read = [...document.querySelectorAll("article section[id]")].filter(section => below(section) > -innerHeight / 2).pop();
    if (read) event.target.hash = `${read.id}~${below(read)}`;
  });
  const place = /^#([^%]+)~(-?\d+)$/.exec(location.hash);  // as it is written above: identifiers hold no other characters
  addEventListener("load", () => {
    const section = place && document.getElementById(place[1]);
    if (!section) return;
    history.replaceState(null, "", `#${place[1]}`);
    scrollBy({top: place[2] - below(section), behavior: "instant"});
    tabs.querySelector("[aria-current]").focus({preventScroll: true});
  });
}
