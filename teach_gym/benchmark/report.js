/* The report: charts, sortable and filterable tables, teachers that can be switched off, deep links. */
const DATA = JSON.parse($("data").textContent), NAMES = Object.keys(DATA.teachers);
const all = (selector, root) => [...(root || document).querySelectorAll(selector)];
const hue = name => DATA.teachers[name].colour === "ink" ? css("--ink") : DATA.teachers[name].colour;
let off = new Set(), pointed = null, redrawn = [];
const BANDS = 3, FURTHEST = [-1, 2.5];

const matches = (text, words) => words.toLowerCase().split(/[\s,]+/).filter(Boolean).every(word => text.toLowerCase().includes(word));
const shown = name => !off.has(name) && matches(`${name} ${DATA.teachers[name].label}`, $("find-teachers").value);

function el(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties || {}); made.append(...children); return made;
}
const readable = v => v === null || v === undefined ? "–" : Number(v.toPrecision(3)).toString();

/* ---- charts */
function curveChart(box, task, panel) {
  const canvas = el("canvas"), tip = el("div", {className: "tip", hidden: true});
  const figure = el("figure", {className: "curves"}, el("figcaption", {textContent: panel.title}), canvas, tip);
  figure.setAttribute("role", "img"); figure.setAttribute("aria-label", `${task.name}: ${panel.title} against the step`);
  let t = null;
  const draw = () => {
    const visible = panel.lines.filter(line => shown(line.teacher) && line.values.length);
    const lines = visible.map(line => {
      const strong = pointed === line.teacher, band = strong || (pointed === null && visible.length <= BANDS);
      return {values: line.values, at: line.at, low: band ? line.low : null, high: band ? line.high : null,
        colour: hue(line.teacher), dash: DATA.teachers[line.teacher].dash, width: strong ? 3 : 1.7};
    });
    const found = curve(canvas, lines, task.budget, t);
    tip.hidden = t === null || !lines.length;
    if (tip.hidden) return;
    const rows = visible.map((line, k) => ({line, ...found[k]})).filter(row => row.v !== null);
    rows.sort((a, b) => b.v - a.v);
    tip.replaceChildren(el("strong", {textContent: `step ${rows.length ? rows[0].line.at[rows[0].i] : t}`}), ...rows.map(({line, i, v}) => {
      const swatch = el("i"); swatch.style.background = hue(line.teacher);
      return el("div", {}, swatch, `${DATA.teachers[line.teacher].label} ${readable(v)} [${readable(line.low[i])}, ${readable(line.high[i])}]`);
    }));
    const x = LEFT + (canvas.clientWidth - LEFT - RIGHT) * t / task.budget, width = tip.offsetWidth;
    tip.style.left = `${Math.max(4, x > canvas.clientWidth / 2 ? x - width - 6 : Math.min(x + 22, figure.clientWidth - width - 4))}px`;
    tip.style.top = "34px";
  };
  canvas.onpointermove = canvas.onpointerdown = event => { t = stepUnder(canvas, event, task.budget); draw(); };
  canvas.onpointerleave = () => { t = null; draw(); };
  box.append(figure); return draw;
}
/* Horizontal bars with whole intervals; a bar that leaves the chart ends in an arrow. */
function barChart(figure, entries) {
  const canvas = figure.querySelector("canvas");
  return () => {
    const rows = entries.filter(row => shown(row.teacher)), step = 23, foot = 20;
    canvas.style.height = `${rows.length * step + foot}px`;
    const w = canvas.clientWidth, h = rows.length * step + foot, g = fit(canvas, w, h); g.font = "12px system-ui";
    const wide = text => g.measureText(text).width;
    const left = Math.min(Math.max(30, ...rows.map(row => wide(row.label))) + 10, 0.42 * w);
    const right = w - Math.max(30, ...rows.map(row => wide(row.text))) - 10;
    const inside = rows.filter(row => row.value !== null && row.value >= FURTHEST[0] && row.value <= FURTHEST[1]);
    const low = Math.min(0, ...inside.flatMap(row => [row.value, row.low ?? 0]), ...rows.filter(row => row.value < FURTHEST[0]).map(() => FURTHEST[0]));
    const high = Math.max(1, ...inside.flatMap(row => [row.value, row.high ?? 0]), ...rows.filter(row => row.value > FURTHEST[1]).map(() => FURTHEST[1]));
    const pad = 0.03 * (high - low), X = v => left + (right - left) * (v - low + pad) / (high - low + 2 * pad);
    g.strokeStyle = css("--rule"); g.fillStyle = css("--muted"); g.textAlign = "center";
    for (const v of ticksOf(low, high, false)) {
      g.beginPath(); g.moveTo(X(v), 0); g.lineTo(X(v), h - foot); g.stroke(); g.fillText(Number(v.toPrecision(2)), X(v), h - 5);
    }
    rows.forEach((row, k) => {
      const y = k * step + step / 2;
      g.fillStyle = css("--ink"); g.textAlign = "right"; g.globalAlpha = pointed === null || pointed === row.teacher ? 1 : 0.4;
      let label = row.label; while (label.length > 4 && wide(label) > left - 8) label = `${label.slice(0, -2)}…`;
      g.fillText(label, left - 8, y + 4); g.textAlign = "left"; g.fillText(row.text, right + 8, y + 4);
      if (row.value !== null) {
        const cut = row.value < low || row.value > high, end = X(Math.min(Math.max(row.value, low), high)), side = Math.sign(row.value);
        g.fillStyle = hue(row.teacher); g.fillRect(Math.min(X(0), end), y - 7, Math.abs(end - X(0)), 14);
        if (cut) {
          g.fillStyle = css("--panel"); g.fillRect(end - side * 14, y - 7, 3, 14); g.fillRect(end - side * 9, y - 7, 3, 14);
          g.fillStyle = hue(row.teacher); g.beginPath(); g.moveTo(end, y - 9); g.lineTo(end + side * 9, y); g.lineTo(end, y + 9); g.fill();
        } else if (row.low !== null && row.high !== null) {
          g.lineWidth = 3.4; g.strokeStyle = css("--panel"); g.beginPath(); g.moveTo(X(row.low), y); g.lineTo(X(row.high), y); g.stroke();
          g.lineWidth = 1.6; g.strokeStyle = css("--ink"); g.beginPath(); g.moveTo(X(row.low), y); g.lineTo(X(row.high), y);
          for (const v of [row.low, row.high]) { g.moveTo(X(v), y - 4); g.lineTo(X(v), y + 4); }
          g.stroke(); g.lineWidth = 1;
        }
      }
      g.globalAlpha = 1;
    });
    g.strokeStyle = css("--muted"); g.setLineDash([3, 3]);
    for (const v of [0, 1]) { g.beginPath(); g.moveTo(X(v), 0); g.lineTo(X(v), h - foot); g.stroke(); }
    g.setLineDash([]);
  };
}
function toggles(list, names) {
  for (const name of names) {
    const {label, dash} = DATA.teachers[name], button = el("button");
    button.innerHTML = `<svg viewBox="0 0 26 10" aria-hidden="true"><line x1="1" y1="5" x2="25" y2="5" stroke-width="3" stroke-dasharray="${dash.join(" ")}"/></svg>`;
    button.append(label); button.dataset.teacher = name;
    button.onclick = () => { if (off.has(name)) off.delete(name); else off.add(name); update(); };
    button.onmouseenter = button.onfocus = () => { pointed = shown(name) ? name : null; redraw(); };
    button.onmouseleave = button.onblur = () => { pointed = null; redraw(); };
    list.append(el("li", {}, button));
  }
}

/* ---- what is built when it comes into sight */
const seen = new IntersectionObserver(entries => {
  for (const {isIntersecting, target} of entries) {
    if (!isIntersecting) continue;
    seen.unobserve(target);
    if (target.dataset.lesson) {
      redrawn.push(mountPlayer(target, JSON.parse($(`lesson-${target.dataset.lesson}`).textContent), {most: MOST, page: false}));
    } else if (target.dataset.bars) { const draw = barChart(target, DATA.aggregate); redrawn.push(draw); draw(); } else {
      const task = DATA.tasks[Number(target.dataset.charts)], draws = task.panels.map(panel => curveChart(target, task, panel));
      const figure = el("figure", {className: "bars"}, el("figcaption", {textContent: "Teaching score"}), el("canvas"));
      figure.setAttribute("role", "img"); figure.setAttribute("aria-label", `${task.name}: teaching scores`);
      target.append(figure); draws.push(barChart(figure, task.scores));
      redrawn.push(...draws); draws.forEach(draw => draw());
    }
  }
}, {rootMargin: "600px"});
function redraw() { for (const draw of redrawn) draw(); }

/* ---- tables */
for (const table of all("table.sortable")) {
  const heads = all("th", table), body = table.tBodies[0];
  heads.forEach((head, column) => head.querySelector("button").onclick = () => {
    const down = head.getAttribute("aria-sort") ? head.getAttribute("aria-sort") === "ascending" : column > 0;
    heads.forEach(other => other.removeAttribute("aria-sort")); head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = row => row.cells[column].dataset.sort, sign = down ? -1 : 1;
    const order = (a, b) => {
      const [x, y] = [key(a), key(b)];
      if (x === "" || y === "") return (x === "") - (y === "");  // rows without a value stay last
      return sign * (isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y);
    };
    body.append(...all("tr", body).sort(order));
  });
}

/* ---- filters and deep links: #TASK&off=teacher,teacher&tasks=words&teachers=words */
function update() {
  for (const row of all("tr[data-teacher]")) row.hidden = !shown(row.dataset.teacher);
  for (const button of all("ul.teachers button")) {
    button.setAttribute("aria-pressed", !off.has(button.dataset.teacher));
    button.parentElement.hidden = !matches(`${button.dataset.teacher} ${button.textContent}`, $("find-teachers").value);
    button.querySelector("line").setAttribute("stroke", hue(button.dataset.teacher));
  }
  for (const section of all("section.task")) section.hidden = !matches(section.dataset.words, $("find-tasks").value);
  for (const link of all("nav a")) link.hidden = all("section.task")[Number(link.dataset.task)].hidden;
  const asked = new URLSearchParams();
  if (off.size) asked.set("off", [...off].join(","));
  for (const kind of ["tasks", "teachers"]) if ($(`find-${kind}`).value) asked.set(kind, $(`find-${kind}`).value);
  const place = location.hash.slice(1).split("&")[0], text = asked.toString();
  history.replaceState(null, "", place || text ? `#${place.includes("=") && !document.getElementById(decodeURIComponent(place)) ? "" : place}${text && "&" + text}` : location.pathname + location.search);
  redraw();
}
function arrive() {
  const hash = location.hash.slice(1), asked = new URLSearchParams(hash.includes("&") ? hash.slice(hash.indexOf("&") + 1) : "");
  if (hash.includes("&")) {
    off = new Set((asked.get("off") || "").split(",").filter(name => NAMES.includes(name)));
    for (const kind of ["tasks", "teachers"]) $(`find-${kind}`).value = asked.get(kind) || "";
  }
  update();
  const place = document.getElementById(decodeURIComponent(hash.split("&")[0]));
  if (place) place.scrollIntoView();
}
for (const list of all("ul.teachers")) {
  toggles(list, list.dataset.task ? DATA.tasks[Number(list.dataset.task)].scores.map(row => row.teacher) : NAMES);
}
$("find-tasks").oninput = $("find-teachers").oninput = update;
$("all").onclick = () => { off.clear(); $("find-teachers").value = ""; update(); };
$("theme").onclick = () => { toggleTheme(); update(); };
window.addEventListener("resize", redraw);
window.addEventListener("hashchange", arrive);
for (const part of all("[data-lesson], [data-bars], [data-charts]")) seen.observe(part);
arrive();
