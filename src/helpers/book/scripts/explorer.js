// The threshold explorer (explorer.py): counts and bins anew at every move of a slider, as copies/calibration.py does.
for (const root of document.querySelectorAll(".explorer:not([data-ready])")) {
  root.dataset.ready = "";
  const runs = JSON.parse(root.querySelector(".explorer-facts").textContent);
  const form = root.querySelector("form"), chart = root.querySelector(".explorer-chart"), BINS = 40;
  const field = name => form.elements[name], shown = name => root.querySelector(`[data-value=${name}]`);
  const colour = name => getComputedStyle(root).getPropertyValue(name).trim();
  for (const run of Object.values(runs)) {
    const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0)).buffer;
    run.rows = new Float32Array(bytes(run.rows)), run.positions = new Float64Array(bytes(run.positions));
    run.count = run.rows.length / (1 + run.depth);
  }
  const above = x => {  // the next float32 above x, as numpy's nextafter
    const tau = Math.fround(x);
    if (tau > x) return tau;
    const float = new Float32Array([tau]), bits = new Int32Array(float.buffer);
    if (tau === 0) bits[0] = 1; else bits[0] += tau > 0 ? 1 : -1;
    return float[0];
  };
  const score = (run, i, beta, k) => {
    const at = i * (1 + run.depth);
    let sum = 0;
    for (let j = 0; j < k; j++) sum += run.rows[at + 1 + j];
    const s = run.rows[at] - beta * (sum / k);
    return i < run.generated ? Math.fround(s) : s;  // decisions.parquet holds float32
  };
  const share = (count, n) => n ? `${count} of ${n} (${(100 * count / n).toFixed(1)}\u00a0%)` : "none to judge";
  const bins = (values, edges) => {
    const found = new Array(BINS).fill(0);
    for (const x of values) {
      let i = Math.min(BINS - 1, Math.floor((x - edges[0]) / (edges[BINS] - edges[0]) * BINS));
      while (i > 0 && x < edges[i]) i--;
      while (i < BINS - 1 && x >= edges[i + 1]) i++;
      found[i]++;
    }
    return found.map(count => count / values.length);
  };
  let plot, tau, scores, run;

  function reckon() {
    run = runs[field("n").value];
    const beta = +field("beta").value, k = +field("k").value, theta = +field("theta").value;
    scores = Float64Array.from({length: run.count}, (_, i) => score(run, i, beta, k));
    const [g, c2, c3] = [run.generated, run.generated + run.c2, run.generated + run.c2 + run.c3];
    const range = [Math.min(...scores), Math.max(...scores)];
    const slider = field("tau");
    if (field("follow").checked) {
      const null_scores = scores.slice(g, c2).sort();
      tau = run.above < 1 ? NaN : above(null_scores[run.c2 - run.above]);
    } else tau = Math.min(Math.max(tau, range[0]), range[1]);
    const span = range[1] - range[0];
    [slider.min, slider.max, slider.step] = [range[0], range[1] + span / 100, "any"];
    if (!Number.isNaN(tau)) slider.value = tau;
    shown("tau").value = Number.isNaN(tau) ? "unattainable" : tau.toFixed(4);
    shown("beta").value = beta.toFixed(2), shown("k").value = k, shown("theta").value = theta.toFixed(2);
    const count = {flagged: 0, alarms: 0, defined: 0, exact: 0, whole: 0, near: 0};
    for (let i = 0; i < c3; i++) {
      const flagged = scores[i] >= tau;
      if (i >= c2) count.alarms += flagged;
      if (i >= g) continue;
      const at = run.positions[i], defined = !Number.isNaN(at), near = at >= theta;
      count.flagged += flagged, count.whole += defined, count.near += near;
      count.defined += flagged && defined, count.exact += flagged && near;
    }
    const unset = Number.isNaN(tau) ? "no threshold" : "";
    const say = (name, text) => root.querySelector(`[data-count=${name}]`).textContent = text;
    say("flagged", unset || share(count.flagged, g));
    say("false_alarms", unset || share(count.alarms, run.c3));
    say("precision", unset || share(count.exact, count.defined));
    say("near", share(count.near, count.whole));
    const edges = Array.from({length: BINS + 1}, (_, i) => range[0] + i * ((range[1] - range[0]) / BINS));
    edges[BINS] = range[1];
    const heights = [scores.subarray(0, g), scores.subarray(g)].map(part => bins(part, edges));
    draw([edges, ...heights.map(part => [...part, part[BINS - 1]])]);
  }

  function draw(data) {
    const axis = {stroke: () => colour("--ink"), grid: {stroke: () => colour("--line"), width: 1}, ticks: {show: false}};
    const area = (label, name) => ({
      label, stroke: () => colour(name), fill: () => colour(name) + "47", width: 1.5,
      paths: uPlot.paths.stepped({align: 1}), points: {show: false},
    });
    if (!plot) plot = new uPlot({
      width: chart.clientWidth, height: 260, legend: {show: false}, cursor: {show: false}, select: {show: false},
      scales: {x: {time: false, range: (_, low, high) => [low, high]}, y: {range: (_, low, high) => [-high / 3, high * 1.05]}},
      axes: [
        {...axis, label: "best normalised score", labelSize: 22, labelFont: "13px system-ui", font: "12px system-ui"},
        {...axis, size: 46, font: "12px system-ui", filter: (_, ticks) => ticks.map(y => y < 0 ? null : y),
         values: (_, ticks) => ticks.map(y => y === null ? "" : `${+(100 * y).toFixed(1)} %`)},
      ],
      series: [{}, area("generated", "--generated"), area("honest", "--honest")],
      hooks: {draw: [line, place]},
    }, data, chart);
    else plot.setData(data);
  }

  function line(u) {
    if (Number.isNaN(tau)) return;
    const x = u.valToPos(tau, "x", true), {top, height} = u.bbox;
    u.ctx.save();
    u.ctx.strokeStyle = colour("--ink");
    u.ctx.lineWidth = 1.5 * devicePixelRatio;
    u.ctx.setLineDash([6 * devicePixelRatio, 4 * devicePixelRatio]);
    u.ctx.beginPath(), u.ctx.moveTo(x, top), u.ctx.lineTo(x, top + height), u.ctx.stroke();
    u.ctx.restore();
  }

  // The clips that can be heard: buttons under the histogram, so that the keyboard reaches them
  const dots = [...root.querySelectorAll(".explorer-clip")].map(clip => {
    const dot = document.createElement("button");
    Object.assign(dot, {type: "button", className: "explorer-dot", title: clip.dataset.label});
    dot.onclick = () => {
      const heard = root.querySelector(".explorer-heard"), back = heard.firstElementChild;
      if (back) root.querySelector(".explorer-clips").append(back);
      heard.append(clip);
      for (const other of dots) other.dot.setAttribute("aria-pressed", other.dot === dot);
      clip.querySelector("audio").play().catch(() => {});  // a browser may want a press on the player itself
    };
    dot.setAttribute("aria-pressed", false);
    return {dot, clip, n: clip.dataset.n, row: +clip.dataset.row};
  });
  function place(u) {
    const own = dots.filter(({n}) => n === field("n").value).sort((a, b) => scores[a.row] - scores[b.row]);
    const kept = new Set(own.map(({dot}) => dot));
    for (const {dot} of dots) if (!kept.has(dot)) dot.remove();
    own.forEach(({dot, clip, row}, i) => {
      const flagged = Number.isNaN(tau) ? "" : scores[row] >= tau ? ", flagged" : ", not flagged";
      dot.setAttribute("aria-label", `${clip.dataset.label}: score ${scores[row].toFixed(3)}${flagged}`);
      dot.style.cssText = `left:${u.valToPos(scores[row], "x")}px;bottom:${14 + i % 3 * 20}px;` +
        `--dot:var(${row < run.generated ? "--generated" : "--honest"})`;
      if (u.over.children[i] !== dot) u.over.append(dot);
    });
  }

  form.addEventListener("input", event => {
    if (event.target.name === "tau") field("follow").checked = false, tau = +event.target.value;
    reckon();
  });
  form.addEventListener("reset", () => setTimeout(reckon));
  form.addEventListener("submit", event => event.preventDefault());
  root.plotted = () => plot.data;
  root.querySelector(".explorer-play").hidden = false;
  reckon();
  new ResizeObserver(() => plot.setSize({width: chart.clientWidth, height: 260})).observe(chart);
  new MutationObserver(() => plot.redraw()).observe(document.documentElement, {attributeFilter: ["data-theme"]});
}
