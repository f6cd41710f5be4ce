// Charts on a canvas, in the colors of the page.

const PALETTE = ["#4e79a7", "#f28e2b", "#e15759", "#76b7b2", "#59a14f", "#edc948", "#b07aa1", "#ff9da7", "#9c755f", "#8a8f99"];
export const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// The color of a label among so many.
export function colorOf(label, count) {
  if (count <= PALETTE.length) return PALETTE[label % PALETTE.length];
  return `hsl(${(label * 137.5) % 360} 60% ${45 + 15 * (label % 2)}%)`;
}

export function bars(canvas, values) {
  const context = fitted(canvas, 0.75);
  const [width, height] = [canvas.clientWidth, canvas.clientWidth * 0.75];
  const [low, high] = [Math.min(0, ...values), Math.max(0, ...values)];
  const y = (value) => height - 8 - ((value - low) / (high - low || 1)) * (height - 16);
  const step = (width - 16) / values.length;
  context.clearRect(0, 0, width, height);
  context.fillStyle = style("--accent");
  values.forEach((value, index) => {
    context.fillRect(8 + index * step, Math.min(y(0), y(value)), Math.max(1, step - 2), Math.max(1, Math.abs(y(value) - y(0))));
  });
  context.fillStyle = style("--quiet");
  context.fillRect(8, y(0), width - 16, 1);
}

// The context of a canvas as sharp as the screen, in CSS pixels.
export function fitted(canvas, aspect) {
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(width * aspect * ratio);
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return context;
}
