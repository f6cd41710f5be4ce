import { bars, colorOf, fitted, style } from "/assets/charts.js";
import { Drawing, cornerColor, show } from "/assets/drawing.js";
import { makePad } from "/assets/pad.js";
import { checked, post } from "/assets/server.js";

const SHOWN = 16; // sliders before "more"
const byId = (id) => document.getElementById(id);

async function ask(operation, values, shape, more = {}) {
  const query = new URLSearchParams(more);
  const label = byId("label").value;
  if (info.is_conditional && label !== "") query.set("label", info.labels[label]);
  return post(operation, values, shape, query);
}

function report(error) {
  byId("status").hidden = !error;
  byId("status").textContent = error ? (error instanceof TypeError ? "The server does not answer." : error.message) : "";
}

// Runs a function as often as it is asked for, but one at a time, and the last time after the last asking.
function latest(action) {
  let running = false;
  let again = false;
  return async () => {
    again = true;
    if (running) return;
    running = true;
    while (again) {
      again = false;
      try {
        await action();
        report();
      } catch (error) {
        report(error);
      }
    }
    running = false;
  };
}

// --- the code and its picture ---

let info;
let z;
let drawing;
const sliders = new Map(); // unit: [input, output]

const decode = latest(async () => {
  const values = await ask("decode", z, [info.latent_dim]);
  if (isImage()) return show(byId("decoded"), values, info.shape);
  bars(byId("decoded"), values);
  const shown = Array.from(values.slice(0, 8), (value) => Number(value.toPrecision(3)));
  byId("values").textContent = shown.join(", ") + (values.length > 8 ? ", …" : "");
});

const isImage = () => info.shape.length === 3 && info.kind !== "real";

function setCode(values) {
  z = Float32Array.from(values);
  for (const [unit, [input, output]] of sliders) {
    input.value = z[unit];
    output.value = short(z[unit]);
  }
  forgetScore();
  space.draw();
  decode();
}

// The score is that of the drawing, which other codes do not come from.
function forgetScore() {
  if (isImage()) byId("values").textContent = "";
}

const short = (value) => value.toFixed(2).replace(/^-(0\.00)$/, "$1");

function makeSliders(count) {
  const order = info.units.map((_, unit) => unit).sort((a, b) => info.units[b].std - info.units[a].std);
  byId("sliders").replaceChildren();
  sliders.clear();
  for (const unit of order.slice(0, count).sort((a, b) => a - b)) {
    const [low, high] = range(unit);
    const row = document.createElement("label");
    const input = document.createElement("input");
    const output = document.createElement("output");
    row.className = "unit";
    Object.assign(input, { type: "range", min: low, max: high, step: (high - low) / 200, value: z[unit] });
    input.setAttribute("aria-label", `Code unit ${unit}`);
    output.value = short(z[unit]);
    input.addEventListener("input", () => {
      z[unit] = Number(input.value);
      output.value = short(z[unit]);
      space.draw();
      decode();
    });
    row.append(`z${unit}`, input, output);
    byId("sliders").append(row);
    sliders.set(unit, [input, output]);
  }
  byId("more").hidden = count >= info.latent_dim;
  byId("more").textContent = `Show all ${info.latent_dim} units`;
}

// The quantiles of a unit and a quarter more on both sides.
function range(unit) {
  const { quantiles } = info.units[unit];
  const [low, high] = [quantiles[0], quantiles[quantiles.length - 1]];
  const rest = high > low ? (high - low) / 4 : 1;
  return [low - rest, high + rest];
}

// --- the code space ---

const space = {
  units: [0, 0],
  points: [],
  y: null,
  only: null, // the label that is highlighted

  async load(units) {
    this.units = units;
    const response = await checked(await fetch(`/codes?units=${units.length > 1 ? units.join(",") : units[0]}`));
    const { points, y } = await response.json();
    this.points = units.length > 1 ? points : points.map(([value], index) => [value, ((index * 0.618) % 1) * 2 - 1]);
    this.y = y;
    this.canvas = byId("space");
    this.draw();
  },

  limits() {
    return this.units.length > 1 ? this.units.map(range) : [range(this.units[0]), [-1.5, 1.5]];
  },

  place([x, y]) {
    const size = this.canvas.clientWidth;
    const [[left, right], [bottom, top]] = this.limits();
    return [((x - left) / (right - left)) * size, size - ((y - bottom) / (top - bottom)) * size];
  },

  at(event) {
    const size = this.canvas.clientWidth;
    const [[left, right], [bottom, top]] = this.limits();
    return [left + (event.offsetX / size) * (right - left), bottom + (1 - event.offsetY / size) * (top - bottom)];
  },

  draw() {
    if (!this.canvas) return;
    const context = fitted(this.canvas, 1);
    const size = this.canvas.clientWidth;
    context.clearRect(0, 0, size, size);
    this.points.forEach((point, index) => {
      const label = this.y ? this.y[index] : 0;
      context.globalAlpha = this.only === null || this.only === label ? 0.75 : 0.08;
      context.fillStyle = this.y ? colorOf(label, info.labels.length) : style("--accent");
      const [x, y] = this.place(point);
      context.beginPath();
      context.arc(x, y, this.points.length > 600 ? 2 : 3.5, 0, 7);
      context.fill();
    });
    context.globalAlpha = 1;
    const [x, y] = this.place([z[this.units[0]], this.units.length > 1 ? z[this.units[1]] : 0]);
    const inside = [x, y].map((value) => Math.min(size - 8, Math.max(8, value)));
    for (const [color, width] of [[style("--card"), 5], [style("--ink"), 2.5]]) {
      context.strokeStyle = color;
      context.lineWidth = width;
      context.beginPath();
      context.arc(...inside, 8, 0, 7);
      context.stroke();
    }
    this.canvas.dataset.marker = inside.map(Math.round).join(",");
  },

  nearest(event) {
    let [best, found] = [144, null];
    this.points.forEach((point, index) => {
      const [x, y] = this.place(point);
      const distance = (x - event.offsetX) ** 2 + (y - event.offsetY) ** 2;
      if (distance < best) [best, found] = [distance, index];
    });
    return found;
  },
};

function makeLegend() {
  if (!space.y) return;
  const present = [...new Set(space.y)].sort((a, b) => a - b);
  byId("legend").replaceChildren(
    ...present.map((label) => {
      const item = document.createElement("li");
      const button = document.createElement("button");
      const dot = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      const circle = document.createElementNS("http://www.w3.org/2000/svg", "circle");
      for (const [name, value] of Object.entries({ cx: 5, cy: 5, r: 5, fill: colorOf(label, info.labels.length) })) circle.setAttribute(name, value);
      dot.setAttribute("viewBox", "0 0 10 10");
      dot.append(circle);
      button.type = "button";
      button.setAttribute("aria-pressed", "false");
      button.append(dot, info.labels[label] ?? String(label));
      button.addEventListener("click", () => {
        space.only = space.only === label ? null : label;
        for (const other of byId("legend").querySelectorAll("button")) other.setAttribute("aria-pressed", "false");
        button.setAttribute("aria-pressed", String(space.only === label));
        space.draw();
      });
      item.append(button);
      return item;
    }),
  );
}

// --- the pad ---

const encode = latest(async () => {
  if (drawing.isEmpty) return forgetScore();
  const image = drawing.image({ centered: byId("center").checked, binary: info.kind === "binary" });
  show(byId("seen"), image, info.shape);
  setCode(await ask("encode", image, info.shape));
  if (info.threshold === null) return;
  const code = z;
  const [score] = await ask("score", image, info.shape);
  if (z !== code) return;
  const verdict = score > info.threshold ? "an anomaly" : "normal";
  byId("values").textContent = `Score ${score.toPrecision(3)}, ${verdict} (threshold ${info.threshold.toPrecision(3)})`;
});

// --- samples, theme, start ---

async function drawSamples() {
  const count = isImage() ? 8 : 1;
  const values = await ask("sample", null, null, { count, seed: Math.floor(Math.random() * 2 ** 32) });
  const size = values.length / count;
  const images = Array.from({ length: count }, (_, index) => values.slice(index * size, (index + 1) * size));
  if (!isImage()) return setCode(await ask("encode", images[0], info.shape));
  byId("samples").replaceChildren(
    ...images.map((image, index) => {
      const button = document.createElement("button");
      const canvas = document.createElement("canvas");
      show(canvas, image, info.shape);
      button.type = "button";
      button.setAttribute("aria-label", `Show sample ${index + 1}`);
      button.append(canvas);
      button.addEventListener("click", async () => {
        const input = info.kind === "binary" ? image.map((value) => (value >= 0.5 ? 1 : 0)) : image.map((value) => Math.min(1, Math.max(0, value)));
        try {
          setCode(await ask("encode", input, info.shape));
        } catch (error) {
          report(error);
        }
      });
      return button;
    }),
  );
}

function setTheme(name) {
  document.documentElement.dataset.theme = name;
  if (info) space.draw();
  if (info && !isImage()) decode();
}

function options(select, names, chosen) {
  select.replaceChildren(...names.map((name, index) => new Option(name, index, index === chosen, index === chosen)));
}

async function start() {
  info = await (await checked(await fetch("/info"))).json();
  z = Float32Array.from(info.units, (unit) => unit.mean);
  document.title = `${info.name} · aejax`;
  byId("name").textContent = info.name;
  const kind = { rgb: "color", gray: "gray", binary: "binary", real: "real values" }[info.kind] ?? info.kind;
  byId("about").textContent = `${info.data} · ${info.shape.slice(0, 2).join(" × ")} ${kind} · ${info.latent_dim} code unit${info.latent_dim > 1 ? "s" : ""}`;
  byId("label-field").hidden = !info.is_conditional;
  options(byId("label"), info.labels, 0);
  byId("label").addEventListener("change", () => (drawing && !drawing.isEmpty ? encode() : decode()));
  const order = info.units.map((_, unit) => unit).sort((a, b) => info.units[b].std - info.units[a].std);
  const names = info.units.map((_, unit) => `z${unit}`);
  const units = order.slice(0, 2).sort((a, b) => a - b);
  byId("unit-field").hidden = info.latent_dim < 3;
  options(byId("unit-x"), names, units[0]);
  options(byId("unit-y"), names, units[units.length - 1]);
  for (const id of ["unit-x", "unit-y"]) {
    byId(id).addEventListener("change", () => space.load([Number(byId("unit-x").value), Number(byId("unit-y").value)]));
  }
  makeSliders(SHOWN);
  byId("more").addEventListener("click", () => makeSliders(info.latent_dim));
  byId("mean").addEventListener("click", () => setCode(info.units.map((unit) => unit.mean)));
  byId("random").addEventListener("click", () => setCode(info.units.map((unit) => unit.mean + unit.std * normal())));
  byId("sample").disabled = !info.can_sample;
  if (!info.can_sample) byId("no-samples").textContent = "This model has no prior to draw from.";
  byId("sample").addEventListener("click", () => drawSamples().then(() => report(), report));
  await space.load(units);
  makeLegend();
  byId("space").addEventListener("click", (event) => {
    const place = space.at(event);
    const next = Float32Array.from(z);
    space.units.forEach((unit, axis) => (next[unit] = place[axis]));
    setCode(next);
  });
  byId("space").addEventListener("pointermove", (event) => {
    const index = space.nearest(event);
    byId("near").textContent = index === null || !space.y ? "\u00a0" : (info.labels[space.y[index]] ?? space.y[index]);
  });
  window.addEventListener("resize", () => (space.draw(), isImage() || decode()));
  await decode();
  byId("no-pad").hidden = isImage();
  byId("pad-area").hidden = !isImage();
  if (isImage()) {
    const background = cornerColor(await ask("decode", z, [info.latent_dim]), info.shape);
    drawing = new Drawing(info.shape, info.shape[2] === 1 ? background.map(Math.round) : background);
    makePad(drawing, info.shape, encode);
  }
  document.body.dataset.ready = "true";
}

function normal() {
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}

setTheme(localStorage.getItem("theme") ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
byId("theme").addEventListener("click", () => {
  const name = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  localStorage.setItem("theme", name);
  setTheme(name);
});
start().catch(report);
