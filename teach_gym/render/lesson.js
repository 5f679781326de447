"use strict";
// Drawing of lessons on canvases, for the lesson player and the playground. Nothing of a learner is computed here.
const LINES = ["#2f5fc4", "#d9652b", "#8a3fb8"];
const $ = id => document.getElementById(id);
const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const rgb = c => `rgb(${c.join(",")})`;
function bytes(text) { return Uint8Array.from(atob(text), c => c.charCodeAt(0)); }
function fit(canvas, w, h) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(w * ratio)); canvas.height = Math.max(1, Math.round(h * ratio));
  const g = canvas.getContext("2d"); g.setTransform(ratio, 0, 0, ratio, 0, 0); return g;
}
function plot(canvas, s, step) {
  const w = canvas.clientWidth, g = fit(canvas, w, w);
  const px = p => [(p[0] - s.low[0]) / (s.high[0] - s.low[0]) * w, w - (p[1] - s.low[1]) / (s.high[1] - s.low[1]) * w];
  const clip = p => px(p).map(v => Math.min(Math.max(v, 5), w - 5));
  const dark = document.documentElement.dataset.theme === "dark";
  g.fillStyle = dark ? "#1d2129" : "#fff"; g.fillRect(0, 0, w, w);
  if (s.tint && step.tint) {
    const small = document.createElement("canvas"); small.width = small.height = s.tint;
    const image = new ImageData(s.tint, s.tint), raw = bytes(step.tint);
    for (let i = 0; i < s.tint * s.tint; i++) {
      image.data.set(raw.subarray(3 * i, 3 * i + 3), 4 * i); image.data[4 * i + 3] = 255;
    }
    small.getContext("2d").putImageData(image, 0, 0);
    g.globalAlpha = dark ? 0.25 : 0.18; g.imageSmoothingEnabled = true; g.drawImage(small, 0, 0, w, w); g.globalAlpha = 1;
  }
  const dot = (p, r, fill, edge, width) => {
    const [x, y] = clip(p); g.beginPath(); g.arc(x, y, r, 0, 7);
    if (fill) { g.fillStyle = fill; g.fill(); }
    if (edge) { g.strokeStyle = edge; g.lineWidth = width; g.stroke(); }
  };
  const segments = (list, colour, width) => {
    g.strokeStyle = colour; g.lineWidth = width; g.lineCap = "round"; g.beginPath();
    for (const [a, b] of list) { g.moveTo(...px(a)); g.lineTo(...px(b)); }
    g.stroke();
  };
  s.points.forEach((p, i) => dot(p, 2.2, rgb(s.colours[i])));
  if (s.regression) {
    segments([[s.low, s.high]], css("--muted"), 1);
    for (const p of s.target || []) dot(p, 2, css("--target"));
    for (const p of step.dots) dot(p, 2.2, rgb(s.classes[0].colour));
    g.fillStyle = css("--muted"); g.font = "11px system-ui"; g.fillText("prediction ↑, true value →", 6, w - 6);
  } else {
    if (s.target) segments(s.target, css("--target"), 3);
    segments(step.line, css("--ink"), 1.8);
  }
  for (const e of step.shown || []) {
    for (const from of e.from) {
      g.strokeStyle = css("--ink"); g.lineWidth = 1.3; g.beginPath(); g.moveTo(...clip(from)); g.lineTo(...clip(e.at)); g.stroke();
      dot(from, 4, dark ? "#1d2129" : "#fff", css("--ink"), 1.3);
    }
    dot(e.at, 7, rgb(e.colour), dark ? "#fff" : "#20242e", 2);
  }
}

function picture(canvas, text, shape) {
  const [h, w] = shape, raw = bytes(text), image = new ImageData(w, h);
  for (let j = 0; j < w * h; j++) image.data.set([raw[j], raw[j], raw[j], 255], 4 * j);
  canvas.width = w; canvas.height = h; canvas.getContext("2d").putImageData(image, 0, 0);
}

function facts(box, step) {
  if (!step.shown) { box.replaceChildren(Object.assign(document.createElement("span"), {className: "muted", textContent: "before the first step"})); return; }
  const e = step.shown[0], parts = [];
  (e.images || []).forEach((text, i) => {
    const canvas = document.createElement("canvas"); picture(canvas, text, e.shape);
    if (i === e.images.length - 1) {
      canvas.style.borderColor = rgb(e.colour);
      if (i) parts.push("→");
    }
    parts.push(canvas);
  });
  const text = document.createElement("span"), chip = document.createElement("span");
  chip.className = "chip"; chip.style.background = rgb(e.colour);
  const same = e.given === e.taught;
  text.append(chip, same ? ` ${e.word} ${e.taught}` : ` ${e.word} ${e.given} → ${e.taught}`);
  if (e.mixture) text.append(`: ${e.mixture}`);
  if (step.rows > 1) text.append(` (first of ${step.rows})`);
  parts.push(text); box.replaceChildren(...parts);
}

/* Round values of an axis. */
function ticksOf(low, high, log) {
  const found = [];
  if (log) {
    const steps = high / low > 300 ? [1] : high / low > 12 ? [1, 3] : [1, 2, 3, 5, 7];
    for (let e = Math.floor(Math.log10(low)); e <= Math.log10(high); e++) for (const s of steps) found.push(s * 10 ** e);
  } else {
    const rough = (high - low) / 5 || 1, unit = 10 ** Math.floor(Math.log10(rough));
    const step = unit * [1, 2, 5, 10].find(s => s * unit >= rough * 0.999);
    for (let v = Math.ceil(low / step) * step; v <= high + step / 1e6; v += step) found.push(Math.abs(v) < step / 1e6 ? 0 : v);
  }
  const inside = found.filter(v => v >= low * (log ? 0.999 : 1) - (log ? 0 : 1e-12) && v <= high * (log ? 1.001 : 1));
  const every = Math.ceil(inside.length / 6);
  return inside.filter((_, i) => i % every === 0);
}
const LEFT = 46, RIGHT = 10;
/* The step at a pointer's place over a panel of curves that ends at step n. */
function stepUnder(canvas, event, n) {
  const r = canvas.getBoundingClientRect();
  return Math.min(Math.max(Math.round((event.clientX - r.left - LEFT) / (r.width - LEFT - RIGHT) * n), 0), n);
}
/* Draw curves on a canvas and return their values at the cursor's step t (null: no cursor). n is the last step of the axis.
   lines = [{values, colour}], and optionally at (the values' steps), low and high (a band), dash, width. */
function curve(canvas, lines, n, t) {
  const w = canvas.clientWidth, h = canvas.clientHeight, g = fit(canvas, w, h), right = w - RIGHT, top = 8, bottom = h - 22;
  const known = v => v !== null && Number.isFinite(v);
  const good = lines.flatMap(line => [...line.values, ...(line.low || []), ...(line.high || [])]).filter(known);
  let low = good.length ? Math.min(...good) : 0, high = good.length ? Math.max(...good) : 1;
  const log = low > 0 && high / low > 20, f = log ? Math.log10 : v => v;
  if (!log) { const pad = 0.06 * (high - low || 1); low -= pad; high += pad; }
  const X = i => LEFT + (right - LEFT) * i / (n || 1), Y = v => bottom - (bottom - top) * (f(v) - f(low)) / (f(high) - f(low) || 1);
  const step = (line, i) => line.at ? line.at[i] : i;
  g.font = "11px system-ui"; g.fillStyle = css("--muted"); g.strokeStyle = css("--rule"); g.lineWidth = 1; g.textAlign = "right";
  for (const v of ticksOf(low, high, log)) {
    const y = Y(v); g.beginPath(); g.moveTo(LEFT, y); g.lineTo(right, y); g.stroke();
    g.fillText(v && (Math.abs(v) < 1e-3 || Math.abs(v) >= 1e5) ? v.toExponential(0) : Number(v.toPrecision(3)), LEFT - 5, y + 4);
  }
  g.textAlign = "center";
  for (const i of ticksOf(0, n, false).filter(Number.isInteger)) g.fillText(i, X(i), h - 6);
  const draw = (line, values) => {
    let pen = false;
    values.forEach((v, i) => { if (known(v)) { (pen ? g.lineTo : g.moveTo).call(g, X(step(line, i)), Y(v)); } pen = known(v); });
  };
  for (const line of lines.filter(line => line.low)) {
    g.fillStyle = line.colour; g.globalAlpha = 0.15; g.beginPath();
    const kept = line.low.map((v, i) => i).filter(i => known(line.low[i]) && known(line.high[i]));
    kept.forEach(i => g.lineTo(X(step(line, i)), Y(line.high[i]))); kept.reverse().forEach(i => g.lineTo(X(step(line, i)), Y(line.low[i])));
    g.fill(); g.globalAlpha = 1;
  }
  const shown = lines.map(line => {
    g.strokeStyle = line.colour; g.lineWidth = line.width || 2; g.setLineDash(line.dash || []);
    g.beginPath(); draw(line, line.values); g.stroke(); g.setLineDash([]);
    if (t === null) return null;
    let i = Math.min(t, line.values.length - 1);
    if (line.at) i = line.at.reduce((best, s, j) => Math.abs(s - t) < Math.abs(line.at[best] - t) ? j : best, 0);
    const v = line.values[i];
    if (known(v)) { g.fillStyle = line.colour; g.beginPath(); g.arc(X(step(line, i)), Y(v), 4, 0, 7); g.fill(); }
    return {i, v: known(v) ? v : null};
  });
  if (t !== null) {
    g.strokeStyle = css("--muted"); g.lineWidth = 1; g.setLineDash([3, 3]);
    g.beginPath(); g.moveTo(X(t), top); g.lineTo(X(t), bottom); g.stroke(); g.setLineDash([]);
  }
  return shown;
}
/* Draw a panel's curves, and write the values at the cursor behind its title. */
function follow(box, lines, n, t) {
  const shown = curve(box.querySelector("canvas"), lines, n, t);
  box.querySelector("h3 span").replaceChildren(...shown.map((found, k) => {
    const value = document.createElement("span");
    value.textContent = found.v === null ? " –" : ` ${Number(found.v.toPrecision(3))}`; value.style.color = lines[k].colour; return value;
  }));
}

/* An empty panel for follow(): its title, and the values at the cursor behind it. */
function panel(title) {
  const box = document.createElement("section"), h = document.createElement("h3"), canvas = document.createElement("canvas");
  box.className = "curve"; h.append(title, document.createElement("span")); box.append(h, canvas); return box;
}
function dark() { return matchMedia("(prefers-color-scheme: dark)").matches; }
function toggleTheme() { const root = document.documentElement; root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark"; }
document.documentElement.dataset.theme = dark() ? "dark" : "light";
