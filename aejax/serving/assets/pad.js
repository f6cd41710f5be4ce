// The pad: strokes of a pointer or of keys go into a drawing, which is shown and encoded again after each.

import { show } from "/assets/drawing.js";

const byId = (id) => document.getElementById(id);

export function makePad(drawing, shape, encode) {
  const pad = byId("pad");
  const [height, width, channels] = shape;
  const isDark = drawing.background.reduce((sum, value) => sum + value, 0) / channels < 0.5;
  let ink = drawing.background.map(() => (isDark ? 1 : 0));
  const pen = { at: [width / 2, height / 2], isDown: false, byKeys: false };
  Object.assign(byId("pen"), { min: 0.8, max: Math.max(2, Math.min(height, width) / 5) });
  byId("pen").value = Math.max(1, Math.min(height, width) / 12);
  byId("center-field").hidden = false;
  byId("center").checked = channels === 1 && height >= 20 && isDark;
  byId("color-field").hidden = channels === 1;
  byId("color").value = isDark ? "#ffffff" : "#000000";
  byId("color").addEventListener("input", (event) => {
    ink = [1, 3, 5].map((at) => parseInt(event.target.value.slice(at, at + 2), 16) / 255);
  });

  function draw() {
    const ratio = window.devicePixelRatio || 1;
    const scale = (pad.clientWidth * ratio) / width;
    pad.width = Math.round(width * scale);
    pad.height = Math.round(height * scale);
    const context = pad.getContext("2d");
    drawing.paint(context, scale);
    if (pen.byKeys) {
      context.strokeStyle = pen.isDown ? "#ff5a36" : getComputedStyle(document.documentElement).getPropertyValue("--accent");
      context.lineWidth = 2 * ratio;
      context.beginPath();
      context.arc(pen.at[0] * scale, pen.at[1] * scale, (byId("pen").value * scale) / 2 + 2, 0, 7);
      context.stroke();
    }
  }

  function changed() {
    draw();
    if (drawing.isEmpty) show(byId("seen"), drawing.averaged({}), shape);
    else encode();
  }

  const where = (event) => {
    const box = pad.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * width, ((event.clientY - box.top) / box.height) * height];
  };
  const width_ = () => Number(byId("pen").value);

  pad.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    pad.setPointerCapture(event.pointerId);
    Object.assign(pen, { isDown: true, byKeys: false });
    drawing.begin(ink, width_(), where(event));
    changed();
  });
  pad.addEventListener("pointermove", (event) => {
    if (!pen.isDown || pen.byKeys) return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const one of events.length ? events : [event]) drawing.extend(where(one));
    changed();
  });
  for (const name of ["pointerup", "pointercancel"]) pad.addEventListener(name, () => (pen.isDown = false));
  pad.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const step = steps[event.key];
    const unit = Math.max(0.5, Math.min(height, width) / 28);
    if (step) {
      pen.at = pen.at.map((value, axis) => Math.min([width, height][axis], Math.max(0, value + step[axis] * unit)));
      if (pen.isDown) drawing.extend([...pen.at]);
    } else if (event.key === " ") {
      pen.isDown = !pen.isDown;
      if (pen.isDown) drawing.begin(ink, width_(), [...pen.at]);
    } else if (event.key === "Delete" || event.key === "Backspace") {
      clear();
    } else {
      return;
    }
    event.preventDefault();
    pen.byKeys = true;
    changed();
  });
  pad.addEventListener("blur", () => {
    Object.assign(pen, { isDown: false, byKeys: false });
    draw();
  });
  const clear = () => {
    drawing.strokes = [];
    pen.isDown = false;
    changed();
  };
  byId("clear").addEventListener("click", clear);
  byId("undo").addEventListener("click", () => {
    drawing.strokes.pop();
    changed();
  });
  byId("center").addEventListener("change", changed);
  window.addEventListener("resize", draw);
  changed();
}
