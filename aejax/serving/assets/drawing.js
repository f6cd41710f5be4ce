// Strokes of a pen, in pixels of the data, and the image that they make in the resolution of the data.

const FIT = 20 / 28; // the part of an image that a centered drawing fills, as in MNIST

export class Drawing {
  constructor(shape, background) {
    [this.height, this.width, this.channels] = shape;
    this.background = background; // of each channel, 0 to 1
    this.strokes = [];
  }

  get isEmpty() {
    return !this.strokes.length;
  }

  begin(color, width, point) {
    this.strokes.push({ color, width, points: [point] });
  }

  extend(point) {
    this.strokes[this.strokes.length - 1].points.push(point);
  }

  // Draws all strokes into a canvas that has `scale` pixels for each pixel of the data.
  paint(context, scale, { zoom = 1, dx = 0, dy = 0 } = {}) {
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = css(this.background);
    context.fillRect(0, 0, context.canvas.width, context.canvas.height);
    context.lineCap = context.lineJoin = "round";
    for (const { color, width, points } of this.strokes) {
      context.strokeStyle = css(color);
      context.lineWidth = width * scale; // as wide in a drawing of any size
      context.beginPath();
      points.forEach(([x, y], index) => {
        const place = [(x * zoom + dx) * scale, (y * zoom + dy) * scale];
        if (index) context.lineTo(...place);
        else context.moveTo(...place);
      });
      if (points.length === 1) context.lineTo(...[(points[0][0] * zoom + dx) * scale + 0.01, (points[0][1] * zoom + dy) * scale]);
      context.stroke();
    }
  }

  // The image [height, width, channels] as Float32Array from 0 to 1: the mean color in each pixel.
  image({ centered, binary }) {
    let place = {};
    if (centered && !this.isEmpty) {
      place = this.fitted();
      const [x, y] = this.centerOfMass(this.averaged(place));
      place.dx += this.width / 2 - x;
      place.dy += this.height / 2 - y;
    }
    const image = this.averaged(place);
    return binary ? image.map((value) => (value >= 0.5 ? 1 : 0)) : image;
  }

  averaged(place) {
    const { height, width, channels } = this;
    const scale = Math.max(1, Math.min(8, Math.floor(1024 / Math.max(height, width))));
    const canvas = new OffscreenCanvas(width * scale, height * scale);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    this.paint(context, scale, place);
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    const image = new Float32Array(height * width * channels);
    const share = 1 / (255 * scale * scale);
    for (let y = 0; y < canvas.height; y++) {
      for (let x = 0; x < canvas.width; x++) {
        const to = (Math.floor(y / scale) * width + Math.floor(x / scale)) * channels;
        const from = (y * canvas.width + x) * 4;
        for (let c = 0; c < channels; c++) image[to + c] += data[from + Math.min(c, 2)] * share;
      }
    }
    return image.map((value) => Math.min(1, Math.max(0, value)));
  }

  // Where the strokes fill the middle of the image.
  fitted() {
    const points = this.strokes.flatMap((stroke) => stroke.points);
    const pen = Math.max(...this.strokes.map((stroke) => stroke.width));
    const bounds = [0, 1].map((axis) => {
      const along = points.map((point) => point[axis]);
      return [Math.min(...along), Math.max(...along)];
    });
    const [[left, right], [top, bottom]] = bounds;
    const room = [this.width * FIT - pen, this.height * FIT - pen];
    const zoom = Math.min(room[0] / Math.max(right - left, 0.1), room[1] / Math.max(bottom - top, 0.1), 4);
    return { zoom, dx: this.width / 2 - (zoom * (left + right)) / 2, dy: this.height / 2 - (zoom * (top + bottom)) / 2 };
  }

  centerOfMass(image) {
    let [sum, across, down] = [0, 0, 0];
    for (let y = 0; y < this.height; y++) {
      for (let x = 0; x < this.width; x++) {
        for (let c = 0; c < this.channels; c++) {
          const ink = Math.abs(image[(y * this.width + x) * this.channels + c] - this.background[c]);
          sum += ink;
          across += ink * (x + 0.5);
          down += ink * (y + 0.5);
        }
      }
    }
    return sum ? [across / sum, down / sum] : [this.width / 2, this.height / 2];
  }
}

// A color of 1 or 3 channels from 0 to 1 as CSS.
export function css(color) {
  const [red, green, blue] = [0, 1, 2].map((c) => Math.round(255 * color[Math.min(c, color.length - 1)]));
  return `rgb(${red} ${green} ${blue})`;
}

// Shows an image [height, width, channels] in a canvas of as many pixels.
export function show(canvas, values, [height, width, channels]) {
  canvas.width = width;
  canvas.height = height;
  const picture = new ImageData(width, height);
  for (let at = 0; at < height * width; at++) {
    for (let c = 0; c < 3; c++) picture.data[4 * at + c] = 255 * values[at * channels + Math.min(c, channels - 1)];
    picture.data[4 * at + 3] = 255;
  }
  canvas.getContext("2d").putImageData(picture, 0, 0);
}

// The background of an image: the mean color of its corners, black or white where it is nearly that.
export function cornerColor(values, [height, width, channels]) {
  const corners = [0, width - 1, (height - 1) * width, height * width - 1];
  return Array.from({ length: channels }, (_, c) => {
    const mean = corners.reduce((sum, at) => sum + values[at * channels + c], 0) / 4;
    return mean < 0.2 ? 0 : mean > 0.8 ? 1 : mean;
  });
}
