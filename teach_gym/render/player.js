/* The lesson player: play, pause, step and scrub lessons inside an element. data = [{scene, seeds: [{seed, lessons}]}].
   options: most (lessons side by side), page (the page is the player's own: a title, deep links and the keyboard; otherwise
   the lesson is shown from its middle on, and a narrow element shows its second teacher). */
function mountPlayer(root, data, options) {
  root.innerHTML = `<h1 class="title"></h1><p class="sub about"></p>
<div class="bar">
  <label class="pick">Task <select class="task"></select></label>
  <label class="pickseed">Seed <select class="seed"></select></label>
  <span class="teachers"></span>
  <button class="theme" aria-label="dark or light">◐</button>
</div>
<div class="bar">
  <button class="first" aria-label="to the start">|◀</button>
  <button class="back" aria-label="one step back">◀</button>
  <button class="play" aria-label="play or pause">▶ play</button>
  <button class="next" aria-label="one step on">▶|</button>
  <input class="at" type="range" min="0" value="0" aria-label="step">
  <span class="step"></span>
  <label>Speed <select class="speed"><option>2</option><option>5</option><option selected>10</option><option>25</option></select> steps/s</label>
</div>
<div class="panes"></div>
<div class="curves"></div>
<p class="legend"><span class="key" style="border-color:var(--ink);margin-left:0"></span>learner
<span class="targetkey"><span class="key" style="border-color:var(--target)"></span>target w*</span>
<span style="margin-left:10px"><span class="chip"></span> taught example, coloured by its label; open dots: what it was made of</span>.
<span class="keys">Space plays, the arrow keys step.</span></p>`;
  const $ = name => root.querySelector(`.${name}`);
  const fits = Math.max(1, Math.min(options.most, Math.floor(root.clientWidth / 290)));
  let task = 0, seed = 0, chosen = [0], t = 0, timer = null;
  const scene = () => data[task].scene, lessons = () => data[task].seeds[seed].lessons;
  const last = () => Math.max(...chosen.map(i => lessons()[i].steps.length)) - 1;
  const end = () => Math.max(scene().budget, last());
  const stepOf = i => lessons()[i].steps[Math.min(t, lessons()[i].steps.length - 1)];

  function build() {
    $("seed").replaceChildren(...data[task].seeds.map((entry, i) => new Option(entry.seed, i)));
    if (seed >= data[task].seeds.length) seed = 0;
    $("seed").value = seed; $("pickseed").hidden = data[task].seeds.length < 2;
    const s = scene();
    chosen = lessons().map((_, i) => i).slice(0, fits);
    if (!options.page && fits === 1 && lessons().length > 1) chosen = [1];
    $("title").textContent = s.name; $("about").textContent = s.about;
    $("targetkey").hidden = s.target === null;
    $("teachers").replaceChildren(...lessons().map((lesson, i) => {
      const label = document.createElement("label"), box = document.createElement("input");
      box.type = "checkbox"; box.checked = chosen.includes(i);
      box.onchange = () => {
        const next = lessons().map((_, j) => j).filter(j => j === i ? box.checked : chosen.includes(j));
        if (next.length < 1 || next.length > options.most) { box.checked = !box.checked; return; }
        chosen = next; panes(); draw();
      };
      label.append(box, lesson.teacher); label.style.marginRight = "12px"; return label;
    }));
    $("teachers").hidden = lessons().length < 2;
    panes();
  }
  function panes() {
    $("panes").replaceChildren(...chosen.map((i, k) => {
      const pane = document.createElement("section"); pane.className = "pane";
      const h = document.createElement("h2"), swatch = document.createElement("span");
      swatch.className = "swatch"; swatch.style.background = LINES[k];
      h.append(swatch, lessons()[i].teacher);
      const plot = document.createElement("canvas"); plot.className = "plot";
      const facts = document.createElement("div"); facts.className = "facts";
      pane.append(h, plot, facts); return pane;
    }));
    $("curves").replaceChildren(...scene().curves.map(title => {
      const box = panel(title), canvas = box.querySelector("canvas");
      canvas.onpointermove = event => {
        if (event.pointerType === "mouse" && event.buttons === 0) return;
        go(stepUnder(canvas, event, end()));
      };
      canvas.onpointerdown = event => { stop(); go(stepUnder(canvas, event, end())); };
      return box;
    }));
  }
  function draw() {
    chosen.forEach((i, k) => {
      const pane = $("panes").children[k];
      plot(pane.querySelector(".plot"), scene(), stepOf(i)); facts(pane.querySelector(".facts"), stepOf(i));
    });
    [...$("curves").children].forEach((box, k) => {
      follow(box, chosen.map((i, j) => ({values: lessons()[i].steps.map(s => s.curves[k]), colour: LINES[j]})), end(), t);
    });
    $("at").max = last(); $("at").value = t; $("step").textContent = `step ${t} / ${scene().budget}`;
    if (options.page) {
      history.replaceState(null, "", `#task=${encodeURIComponent(scene().name)}&seed=${data[task].seeds[seed].seed}&t=${t}`);
    }
  }
  function go(step) { t = Math.min(Math.max(step, 0), last()); draw(); }
  function stop() { clearInterval(timer); timer = null; $("play").textContent = "▶ play"; }
  function play() {
    if (timer) { stop(); return; }
    if (t >= last()) t = 0;
    $("play").textContent = "⏸ pause";
    timer = setInterval(() => { go(t + 1); if (t >= last()) stop(); }, 1000 / Number($("speed").value));
  }
  $("play").onclick = play;
  $("next").onclick = () => { stop(); go(t + 1); };
  $("back").onclick = () => { stop(); go(t - 1); };
  $("first").onclick = () => { stop(); go(0); };
  $("at").oninput = () => { stop(); go(Number($("at").value)); };
  $("speed").onchange = () => { if (timer) { stop(); play(); } };
  $("theme").onclick = () => { toggleTheme(); draw(); };
  data.forEach((entry, i) => $("task").add(new Option(entry.scene.name, i)));
  $("task").onchange = () => { stop(); task = Number($("task").value); t = 0; build(); draw(); };
  $("seed").onchange = () => { stop(); seed = Number($("seed").value); build(); go(t); };
  $("pick").hidden = data.length < 2;
  for (const name of ["title", "about", "theme", "keys"]) $(name).hidden = !options.page;
  window.addEventListener("resize", draw);
  if (options.page) {
    document.onkeydown = event => {
      if (event.target.tagName === "SELECT" || (event.target.type === "range" && event.key.startsWith("Arrow"))) return;
      if (event.key === " ") { event.preventDefault(); play(); }
      if (event.key === "ArrowRight") { stop(); go(t + 1); }
      if (event.key === "ArrowLeft") { stop(); go(t - 1); }
    };
    const asked = new URLSearchParams(location.hash.slice(1));
    const found = data.findIndex(entry => entry.scene.name === asked.get("task"));
    if (found >= 0) { task = found; $("task").value = found; }
    seed = Math.max(data[task].seeds.findIndex(entry => String(entry.seed) === asked.get("seed")), 0);
    t = Number(asked.get("t")) || 0;
  }
  build(); go(options.page ? t : Math.round(scene().budget / 4));
  return draw;
}
