"use strict";
const content = JSON.parse(document.getElementById("content").textContent);
const byId = new Map(content.runs.map((run) => [run.id, run]));
const $$ = (id) => document.getElementById(id);

function element(tag, text, parts = {}) {
  const node = Object.assign(document.createElement(tag), parts);
  if (text !== undefined) node.textContent = text;
  return node;
}

// Tables: a header sorts, numbers by value, words alphabetically; missing values come last.
const collator = new Intl.Collator("en", { numeric: true });
function valueOf(cell) {
  if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
  const text = cell.textContent.trim();
  return text !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
}
function order(first, second) {
  if (typeof first === "number" && typeof second === "number") return first - second;
  if (typeof first === "number") return -1;
  return typeof second === "number" ? 1 : collator.compare(first, second);
}
for (const table of document.querySelectorAll("table[id]")) {
  table.tHead.addEventListener("click", (event) => {
    const header = event.target.closest("th");
    if (!header) return;
    const down = header.ariaSort === "ascending";
    for (const cell of table.tHead.rows[0].cells) cell.ariaSort = "none";
    header.ariaSort = down ? "descending" : "ascending";
    const place = header.cellIndex;
    const rows = [...table.tBodies[0].rows].map((row) => [valueOf(row.cells[place]), row]);
    rows.sort((a, b) => {
      if ((a[0] === "-") !== (b[0] === "-")) return a[0] === "-" ? 1 : -1;
      return down ? order(b[0], a[0]) : order(a[0], b[0]);
    });
    table.tBodies[0].append(...rows.map(([, row]) => row));
  });
}

// The filter: every word, or "words", must be in the row; key<=value, key=a,b and the like look at one column.
function conditionOf(word, names) {
  const parts = word.match(/^(.+?)(<=|>=|!=|==|=|<|>)(.*)$/);
  const place = parts ? names.indexOf(parts[1]) : -1;
  if (place < 0) return (row) => row.textContent.toLowerCase().includes(word.toLowerCase());
  const sign = parts[2] === "==" ? "=" : parts[2], text = parts[3];
  return (row) => {
    const value = valueOf(row.cells[place]);
    if (sign === "=" || sign === "!=") return [text, ...text.split(",")].some((allowed) => String(value) === allowed) === (sign === "=");
    const limit = Number(text);
    if (typeof value !== "number" || text === "" || Number.isNaN(limit)) return false;
    return { "<=": value <= limit, ">=": value >= limit, "<": value < limit, ">": value > limit }[sign];
  };
}
$$("filter").addEventListener("input", (event) => {
  const table = $$("groups");
  const names = [...table.tHead.rows[0].cells].map((cell) => cell.textContent.trim());
  const tests = (event.target.value.match(/"[^"]*"|\S+/g) ?? []).map((word) => conditionOf(word.replaceAll('"', ""), names));
  let left = 0;
  for (const row of table.tBodies[0].rows) {
    row.hidden = !tests.every((test) => test(row));
    left += !row.hidden;
  }
  $$("left").textContent = tests.length ? `${left} of ${table.tBodies[0].rows.length} rows` : "";
});

// Two runs side by side.
const options = { actions: false, renderer: "svg", tooltip: { theme: matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light" } };
function show(side) {
  const run = byId.get($$(side).value);
  const target = $$(`show-${side}`);
  target.replaceChildren();
  if (!run) return;
  const list = element("dl");
  const folder = element("a", run.path, { href: run.path.split("/").map(encodeURIComponent).join("/") + "/" });
  const lines = [["status", run.reason ? `${run.status}: ${run.reason}` : run.status], ["folder", folder], ...Object.entries(run.metrics)];
  for (const [name, value] of lines) {
    const description = element("dd");
    description.append(value);
    list.append(element("dt", name), description);
  }
  target.append(list);
  if (run.codes) {
    const chart = element("div", undefined, { className: "chart", id: `codes-${side}` });
    const { points, of, axes, classes } = run.codes;
    const caption = `${points.length.toLocaleString("en")} of ${of.toLocaleString("en")} test examples. Colors are classes, the same in both charts; no model has any of them.`;
    target.append(element("h4", "Codes of the test examples"), element("p", caption, { className: "caption" }), chart);
    const spec = structuredClone(content.codes);
    spec.data = { values: points.map(([x, y, label]) => ({ x, y, label })) };
    spec.encoding.x.title = axes[0];
    spec.encoding.y.title = axes[1];
    if (classes.length) {
      spec.encoding.color.scale = { domain: classes, range: classes.map((name) => content.classes[name]) };
      spec.encoding.color.legend.columns = Math.max(1, Math.min(9, Math.floor(chart.clientWidth / (7 * Math.max(...classes.map((name) => name.length)) + 34))));
      if (classes.length > 10 && classes.every((name) => name.length < 3)) { // so many colors look alike: show the names
        Object.assign(spec, { name: "tinted", mark: { type: "text", fontSize: 13, fontWeight: "bold" } });
        spec.encoding.text = { field: "label" };
      }
    } else spec.encoding.color = { value: "#888" };
    vegaEmbed(chart, spec, options);
  }
  target.append(element("h4", "Reconstructions"));
  if (run.picture) target.append(element("img", undefined, { src: run.picture, alt: `Test examples and their reconstructions by ${run.name}` }));
  else target.append(element("p", run.drawn ? "The picture is in the run's folder: figures/reconstructions.png" : "This run left no picture.", { className: "caption" }));
}
function showDifferences() {
  const [a, b] = ["a", "b"].map((side) => byId.get($$(side).value));
  if (!a || !b) return;
  const names = [...new Set([...Object.keys(a.settings), ...Object.keys(b.settings)])].sort();
  const rows = names.map((name) => [name, a.settings[name] ?? "absent", b.settings[name] ?? "absent"]).filter(([, ofA, ofB]) => ofA !== ofB);
  const target = $$("differences");
  if (!rows.length) return target.replaceChildren(element("p", "No setting differs."));
  const table = element("table"), head = element("tr");
  head.append(...["setting", `A: ${a.name}`, `B: ${b.name}`].map((text) => element("th", text, { scope: "col" })));
  table.append(element("thead"), element("tbody"));
  table.tHead.append(head);
  for (const row of rows) {
    const line = element("tr");
    line.append(...row.map((text, place) => element(place ? "td" : "th", text)));
    table.tBodies[0].append(line);
  }
  const frame = element("div", undefined, { className: "wide" });
  frame.append(table);
  target.replaceChildren(frame);
}
function open(id) {
  if (!byId.has(id)) return;
  if ($$("a").value !== id) $$("b").value = $$("a").value;
  $$("a").value = id;
  for (const side of ["a", "b"]) show(side);
  showDifferences();
  $$("two").scrollIntoView();
  $$("h-two").focus({ preventScroll: true });
}
for (const [place, side] of ["a", "b"].entries()) {
  $$(side).append(...content.runs.map((run) => element("option", run.status === "completed" ? run.name : `${run.name} (${run.status})`, { value: run.id })));
  $$(side).selectedIndex = Math.min(place, content.runs.length - 1);
  $$(side).addEventListener("change", () => { show(side); showDifferences(); });
}
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-run]");
  if (button) open(button.dataset.run);
});

// Charts, one after another, so that the table is usable at once.
async function draw() {
  for (const { name, spec } of content.charts) {
    const room = Math.floor(($$(name).clientWidth - 70) / (7 * spec.usermeta.longest + 36));
    const legend = { ...spec.config.legend, columns: Math.max(1, Math.min(3, room)) };
    const { view } = await vegaEmbed($$(name), { ...spec, config: { ...spec.config, legend } }, options);
    view.addEventListener("click", (_, item) => { if (item?.datum?.id !== undefined) open(item.datum.id); });
    await new Promise((done) => setTimeout(done));
  }
  for (const side of ["a", "b"]) show(side);
  showDifferences();
  document.body.dataset.ready = "yes";
}
draw();

// Served by --serve: reload when the stamp changes.
if (location.protocol === "http:") {
  let known;
  setInterval(async () => {
    const stamp = await fetch("stamp").then((answer) => answer.text(), () => known);
    if (known !== undefined && stamp !== known) location.reload();
    known = stamp;
  }, 3000);
}
