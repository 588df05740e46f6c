"use strict";
document.documentElement.classList.add("js");

// ---- tables: sort by a column, numbers by value, what has none last

function sortBy(button) {
  const head = button.closest("th");
  const table = head.closest("table");
  const index = [...head.parentNode.children].indexOf(head);
  const first = head.dataset.better === "higher" ? "descending" : "ascending";
  const other = first === "ascending" ? "descending" : "ascending";
  const order = head.getAttribute("aria-sort") === first ? other : first;
  for (const each of head.parentNode.children) each.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", order);
  const sign = order === "ascending" ? 1 : -1;
  const body = table.tBodies[0];
  const rows = [...body.rows].sort((a, b) => compareCells(a.cells[index], b.cells[index], sign));
  for (const row of rows) body.append(row);
}

function compareCells(a, b, sign) {
  if (!("v" in a.dataset) && !("v" in b.dataset)) {
    return a.classList.contains("words") ? sign * a.textContent.localeCompare(b.textContent) : 0;
  }
  if (!("v" in a.dataset)) return 1;
  if (!("v" in b.dataset)) return -1;
  return sign * (Number(a.dataset.v) - Number(b.dataset.v));
}

for (const button of document.querySelectorAll("th button")) button.addEventListener("click", () => sortBy(button));

// ---- filters that are open close when one clicks elsewhere

document.addEventListener("click", (event) => {
  for (const each of document.querySelectorAll("details.filter[open]")) if (!each.contains(event.target)) each.open = false;
});

// ---- drawing

const SVG = "http://www.w3.org/2000/svg";

function element(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function option(select, entries, chosen) {
  const before = chosen ?? select.value;
  select.replaceChildren(...entries.map(([value, text]) => new Option(text, value)));
  if (entries.some(([value]) => value === before)) select.value = before;
}

function mergedBy(counts, k) {
  // k neighbouring bins as one
  const sums = new Array(counts.length / k).fill(0);
  counts.forEach((n, i) => { sums[Math.floor(i / k)] += n; });
  return sums;
}

function stepsPath(counts, x, y, bottom) {
  const total = counts.reduce((a, b) => a + b, 0) || 1;
  let path = `M${x(0)} ${bottom}`;
  counts.forEach((n, i) => { path += `H${x(i / counts.length).toFixed(1)}V${y(n / total).toFixed(1)}`; });
  return `${path}H${x(1)}V${bottom}`;
}

// ---- the threshold: data[section] = [{label, scores: {key: {name, axis, ticks, scale, ids, sets: {key: {name, kind, counts, at}}}}}]

const data = JSON.parse(document.getElementById("data")?.textContent ?? "{}");
const BOX = { width: 620, height: 250, left: 6, top: 10, bottom: 212 };  // width: at most
const ROC = { size: 250,  left: 36, right: 244, top: 10, bottom: 212 };

function stopsOf(score, set) {
  // places where a threshold can stand, each with the images that it accepts: edges of bins, and both FPR@95
  const bins = score.ids.length;
  const stops = [];
  let ids = 0, oods = 0;
  for (let b = 0; b < bins - 1; b += 1) {
    ids += score.ids[b];
    oods += set.counts[b];
    stops.push({ u: (b + 1) / bins, ids, oods, value: valueAt(score.scale, (b + 1) / bins) });
  }
  for (const [convention, [u, accepted, oodAccepted, value]] of Object.entries(set.at)) {
    stops.push({ u, ids: accepted, oods: oodAccepted, value, convention });
  }
  return stops.sort((a, b) => a.ids + a.oods - b.ids - b.oods || a.u - b.u);
}

function valueAt([isLog, origin, low, high], u) {
  const value = low + u * (high - low);
  return isLog ? origin + 10 ** value : value;
}

function ratesAt(stop, ids, oods) {
  const flaggedId = ids - stop.ids, caught = oods - stop.oods;
  return {
    idpos: [stop.ids / ids, stop.oods / oods, stop.ids / (stop.ids + stop.oods)],
    oodpos: [caught / oods, flaggedId / ids, caught / (caught + flaggedId)],
  };
}

class Threshold {
  constructor(root) {
    this.root = root;
    this.runs = data[root.dataset.section];
    this.find = (selector) => root.querySelector(selector);
    for (const name of ["run", "score", "set"]) this.find(`.${name}`).addEventListener("change", () => this.choose());
    this.slider = this.find("input[type=range]");
    this.slider.addEventListener("input", () => this.place(Number(this.slider.value)));
    this.histogram = this.find("svg.histogram");
    this.width = Math.min(BOX.width, this.histogram.parentElement.clientWidth || BOX.width);  // text keeps its size on a phone
    this.histogram.setAttribute("viewBox", `0 0 ${this.width} ${BOX.height}`);
    this.histogram.setAttribute("width", this.width);
    this.histogram.addEventListener("pointerdown", (event) => { this.histogram.setPointerCapture(event.pointerId); this.drag(event); });
    this.histogram.addEventListener("pointermove", (event) => { if (event.buttons) this.drag(event); });
    for (const radio of document.querySelectorAll("input[name=fpr]")) radio.addEventListener("change", () => this.atConvention());
    option(this.find(".run"), this.runs.map((run, i) => [String(i), run.label]), root.dataset.run);
    this.choose();
  }

  choose() {
    const run = this.runs[Number(this.find(".run").value)];
    option(this.find(".score"), Object.entries(run.scores).map(([key, each]) => [key, each.name]));
    this.score = run.scores[this.find(".score").value];
    option(this.find(".set"), Object.entries(this.score.sets).map(([key, each]) => [key, each.name]));
    this.set = this.score.sets[this.find(".set").value];
    this.ids = this.score.ids.reduce((a, b) => a + b, 0);
    this.oods = this.set.counts.reduce((a, b) => a + b, 0);
    this.stops = stopsOf(this.score, this.set);
    this.slider.max = String(this.stops.length - 1);
    this.draw();
    this.atConvention();
  }

  atConvention() {
    const convention = document.querySelector("input[name=fpr]:checked")?.value ?? "idpos";
    const index = this.stops.findIndex((stop) => stop.convention === convention);
    this.place(index < 0 ? this.stops.findIndex((stop) => stop.convention) : index);
  }

  draw() {
    const { left, top, bottom, height } = BOX;
    const right = this.width - left;
    const [ids, oods] = [this.score.ids, this.set.counts].map((counts) => mergedBy(counts, this.set.merge));
    const shares = [ids.map((n) => n / this.ids), oods.map((n) => n / this.oods)];
    const most = 1.06 * Math.max(...shares.flat());
    this.x = (u) => left + u * (right - left);
    const y = (share) => bottom - (share / most) * (bottom - top);
    const parts = [element("path", { class: "axis", d: `M${left} ${bottom}H${right}` })];
    for (const [u, text] of this.score.ticks) parts.push(element("text", { class: "tick middle", x: this.x(u), y: bottom + 13 }, text));
    parts.push(element("text", { class: "name middle", x: (left + right) / 2, y: height - 6 }, `${this.score.axis}, higher = more likely OOD`));
    [[ids, "id"], [oods, this.set.kind]].forEach(([counts, tone]) => {
      parts.push(element("path", { class: `area line ${tone}`, d: stepsPath(counts, this.x, y, bottom) }));
    });
    this.handle = element("path", { class: "handle" });
    this.knob = element("circle", { class: "knob", r: 5, cy: top });
    this.histogram.replaceChildren(...parts, this.handle, this.knob);
    this.drawRoc();
  }

  drawRoc() {
    const { left, right, top, bottom, size } = ROC;
    this.rocX = (share) => left + share * (right - left);
    this.rocY = (share) => bottom - share * (bottom - top);
    const parts = [];
    for (const tick of [0, 0.25, 0.5, 0.75, 1]) {
      parts.push(element("path", { class: "grid", d: `M${left} ${this.rocY(tick)}H${right}` }));
      parts.push(element("text", { class: "tick end", x: left - 4, y: this.rocY(tick) + 3 }, String(100 * tick)));
      parts.push(element("text", { class: "tick middle", x: this.rocX(tick), y: bottom + 13 }, String(100 * tick)));
    }
    parts.push(element("path", { class: "axis", d: `M${left} ${bottom}H${right}` }));
    parts.push(element("text", { class: "name middle", x: (left + right) / 2, y: size - 6 }, "OOD accepted (%)"));
    parts.push(element("text", { class: "name middle", transform: `translate(9 ${(top + bottom) / 2}) rotate(-90)` }, "ID accepted (%)"));
    const points = [{ ids: 0, oods: 0 }, ...this.stops, { ids: this.ids, oods: this.oods }];
    const d = "M" + points.map((p) => `${this.rocX(p.oods / this.oods).toFixed(1)} ${this.rocY(p.ids / this.ids).toFixed(1)}`).join("L");
    parts.push(element("path", { class: "line id", d }));
    this.dot = element("circle", { class: "knob", r: 5 });
    this.find("svg.roc").replaceChildren(...parts, this.dot);
  }

  drag(event) {
    const box = this.histogram.getBoundingClientRect();
    const u = ((event.clientX - box.left) / box.width * this.width - BOX.left) / (this.width - 2 * BOX.left);
    let nearest = 0;
    this.stops.forEach((stop, i) => { if (Math.abs(stop.u - u) < Math.abs(this.stops[nearest].u - u)) nearest = i; });
    this.place(nearest);
  }

  place(index) {
    const stop = this.stops[index];
    this.slider.value = String(index);
    const x = this.x(stop.u);
    this.handle.setAttribute("d", `M${x} ${BOX.top}V${BOX.bottom}`);
    this.knob.setAttribute("cx", x);
    this.dot.setAttribute("cx", this.rocX(stop.oods / this.oods));
    this.dot.setAttribute("cy", this.rocY(stop.ids / this.ids));
    const rates = ratesAt(stop, this.ids, this.oods);
    for (const [convention, values] of Object.entries(rates)) {
      values.forEach((value, i) => {
        this.find(`.${convention}-${i}`).textContent = Number.isFinite(value) ? (100 * value).toFixed(2) : "—";
      });
    }
    this.find(".at").textContent = stop.value.toPrecision(5);
    this.slider.setAttribute("aria-valuetext", stop.value.toPrecision(5));
    const names = { idpos: "95 % of ID accepted", oodpos: "95 % of OOD caught" };
    this.find(".stands").textContent = stop.convention ? `FPR@95: ${names[stop.convention]}` : "";
  }
}

for (const root of document.querySelectorAll(".threshold[data-section]")) if (data[root.dataset.section]?.length) new Threshold(root);

// ---- loss x detector: another number

function shadeHeat(root) {
  const selects = ["set", "metric"].map((name) => root.querySelector(`.${name}`));
  const [set, metric] = selects.map((select) => select.value);
  const [onSet, named] = selects.map((select) => select.selectedOptions[0].text);
  root.querySelector(".shown").textContent = selects[0].length > 1 ? `${named} on ${onSet}` : named;
  const table = root.querySelector("table");
  const values = JSON.parse(root.querySelector("script").textContent)[`${set}|${metric}`] ?? [];
  const higher = metric === "auroc";
  const seeds = [...table.tHead.rows[0].cells].slice(1).map((head) => Number(head.dataset.n));
  [...table.tBodies[0].rows].forEach((row, i) => {
    const own = [...row.cells].slice(1);
    own.forEach((cell, j) => {
      const found = values[i]?.[j];
      const n = found && found[3] !== seeds[j] ? ` (n=${found[3]})` : "";
      cell.textContent = found ? (found[0] / 100).toFixed(2) + n : "—";
      if (found && found[1] !== null) cell.append(small(`${(found[1] / 10).toFixed(1)}–${(found[2] / 10).toFixed(1)}`));
      cell.title = found ? `n = ${found[3]}` : "";
      const share = found ? found[0] / 10000 : 0;
      cell.style.setProperty("--v", found ? shadeOf(higher ? share : 1 - share) : 0);
      cell.classList.toggle("top", Boolean(found?.[4]));
    });
  });
}

function small(text) {
  const made = document.createElement("small");
  made.textContent = text;
  return made;
}

function shadeOf(goodness) {
  return Math.max(0, Math.min(1, (goodness - 0.5) / 0.5)).toFixed(3);
}

for (const root of document.querySelectorAll(".heatmap")) {
  for (const select of root.querySelectorAll("select")) select.addEventListener("change", () => shadeHeat(root));
}
