// The best class of every pixel from a network's output, as segdeploy/imaging/upsample.py: the
// exact argmax of bilinearly upsampled logits. Only cells between logits in which two classes or
// more can be best are upsampled. All numbers are float32, in Python's order, so that labels are
// Python's.

import {fittedSize} from "./resize.js";

const PART = 16;
const f = Math.fround;

/**
 * Return the mask of an image, (height, width) class indices.
 *
 * output: {data, dims}: logits or probabilities (1, K, h, w), or classes (1, H, W).
 * spec: The card's input.
 * image: {height, width} of the image.
 */
export function toMask({data, dims}, spec, image) {
  const fitted = fittedSize(spec, image);
  if (dims.length === 3) return nearest(data, dims[2], fitted, image);
  const [, k, h, w] = dims;
  const covered = {
    height: h * fitted.height / spec.height, width: w * fitted.width / spec.width,
  };
  checkFinite(data);
  return upsampledMask({data, k, h, w}, image.height, image.width, covered);
}

/** Throw where the output holds NaN or infinity. */
function checkFinite(data) {
  for (let at = 0; at < data.length; at++) {
    if (!Number.isFinite(data[at])) {
      throw new Error("the network returned NaN or infinity; export it in another precision");
    }
  }
}

/** Return a mask of another size; each pixel takes the class of the nearest. */
function nearest(data, stride, {height: rows, width: columns}, {height, width}) {
  const across = nearestIndices(columns, width), down = nearestIndices(rows, height);
  const mask = new Uint8Array(height * width);
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < width; x++, to++) mask[to] = data[down[y] * stride + across[x]];
  }
  return mask;
}

/**
 * Return the nearest source of each pixel. Where a pixel's center lies between two, versions of
 * OpenCV disagree; here it is the second.
 */
function nearestIndices(size, pixels) {
  return Int32Array.from({length: pixels}, (_, pixel) =>
    Math.floor((2 * pixel + 1) * size / (2 * pixels)));
}

function upsampledMask(planes, height, width, covered) {
  const {data, k, h, w} = planes;
  const isWhole = covered.height === h && covered.width === w;
  if (isWhole && h === height && w === width) return bestClass(data, k, h * w);
  const down = makeAxis(h, covered.height, height, partsOf(height, covered.height));
  const across = makeAxis(w, covered.width, width, partsOf(width, covered.width));
  const points = pointsOf(planes, down.parts, across.parts);
  const labels = bestClass(points.data, k, points.h * points.w);
  const mask = new Uint8Array(height * width);
  const cell = new Cell(planes, points);
  for (const rows of down.cells) {
    for (const columns of across.cells) {
      const [above, below] = [rows.near * points.w, rows.far * points.w];
      const label = labels[above + columns.near];
      const isMixed = labels[above + columns.far] !== label ||
        labels[below + columns.near] !== label || labels[below + columns.far] !== label;
      if (isMixed) cell.fill(mask, width, rows, columns);
      else {
        for (let y = rows.start; y < rows.end; y++) {
          mask.fill(label, y * width + columns.start, y * width + columns.end);
        }
      }
    }
  }
  return mask;
}

function partsOf(pixels, logits) {
  const ratio = pixels / logits / PART, below = Math.floor(ratio), part = ratio - below;
  return Math.max(1, part === 0.5 ? below + (below % 2) : Math.round(ratio));
}

/** Return the cells along a side that hold pixels, each with its pixels, points and logits. */
function makeAxis(size, covered, pixels, parts) {
  const last = (size - 1) * parts, margin = (parts + 1) >> 1;
  const scale = f(f(covered) / f(pixels));
  const cells = [];
  const weights = new Float32Array(pixels);
  let before = -1;
  for (let pixel = 0; pixel < pixels; pixel++) {
    const center = f(f(scale * f(pixel + 0.5)) - 0.5);
    const floor = Math.floor(center), rest = f(center - floor);
    const part = Math.trunc(Math.min(f(rest * parts), parts - 1));
    const index = Math.min(Math.max(floor * parts + part + margin, 0), last + 2 * margin - 1);
    const isBetween = index >= margin && index < last + margin;
    weights[pixel] = isBetween ? rest : 0;
    if (index !== before) {
      const point = index - margin;
      const near = Math.min(Math.max(point, 0), last);
      const far = Math.min(Math.max(point + 1, 0), last);
      const logit = Math.floor(near / parts);
      const within = point >= 0 && point < last ? 1 : 0;
      cells.push({start: pixel, end: pixel, near, far, logits: [logit, logit + within], weights});
      before = index;
    }
    cells[cells.length - 1].end = pixel + 1;
  }
  return {cells, parts};
}

/** Return the values at the corners of all cells: logits, and points that cut them into parts. */
function pointsOf({data, k, h, w}, down, across) {
  if (down === 1 && across === 1) return {data, k, h, w};
  const columns = (w - 1) * across + 1, rows = (h - 1) * down + 1;
  const wide = new Float32Array(k * h * columns);
  for (let line = 0; line < k * h; line++) {
    for (let x = 0; x < columns; x++) {
      const at = Math.floor(x / across), part = f((x % across) / across);
      const left = data[line * w + at];
      const right = data[line * w + Math.min(at + 1, w - 1)];
      wide[line * columns + x] = f(left + f(f(right - left) * part));
    }
  }
  if (down === 1) return {data: wide, k, h, w: columns};
  const result = new Float32Array(k * rows * columns);
  for (let plane = 0; plane < k; plane++) {
    for (let y = 0; y < rows; y++) {
      const at = Math.floor(y / down), part = f((y % down) / down);
      const above = (plane * h + at) * columns;
      const below = (plane * h + Math.min(at + 1, h - 1)) * columns;
      for (let x = 0; x < columns; x++) {
        const near = wide[above + x];
        result[(plane * rows + y) * columns + x] = f(near + f(f(wide[below + x] - near) * part));
      }
    }
  }
  return {data: result, k, h: rows, w: columns};
}

/** Return the argmax over K planes; of equals, the first. */
export function bestClass(data, k, size) {
  const labels = new Uint8Array(size);
  const best = new Float32Array(data.subarray(0, size));
  for (let index = 1; index < k; index++) {
    for (let at = 0, from = index * size; at < size; at++, from++) {
      if (data[from] > best[at]) {
        best[at] = data[from];
        labels[at] = index;
      }
    }
  }
  return labels;
}

/** One cell in which several classes may be best; its arrays are used again for each. */
class Cell {
  constructor(planes, points) {
    this.planes = planes;
    this.points = points;
    this.corners = new Float32Array(4);
    this.best = new Float32Array(0);
  }

  /** Write the best class of each pixel of the cell. */
  fill(mask, width, rows, columns) {
    const contenders = this.contenders(rows, columns);
    const [first, ...others] = contenders;
    const across = columns.end - columns.start, size = (rows.end - rows.start) * across;
    if (this.best.length < size) this.best = new Float32Array(size);
    this.best.fill(0, 0, size);
    for (let y = rows.start; y < rows.end; y++) {
      mask.fill(first, y * width + columns.start, y * width + columns.end);
    }
    for (const index of others) this.raise(mask, width, rows, columns, index, first);
  }

  /** Return the classes whose largest corner reaches the largest of all smallest corners. */
  contenders(rows, columns) {
    const {data, k, h, w} = this.points;
    const above = rows.near * w, below = rows.far * w, {near, far} = columns;
    let floor = -Infinity;
    for (let index = 0, at = 0; index < k; index++, at += h * w) {
      const least = Math.min(data[at + above + near], data[at + above + far],
        data[at + below + near], data[at + below + far]);
      if (least > floor) floor = least;
    }
    const result = [];
    for (let index = 0, at = 0; index < k; index++, at += h * w) {
      if (data[at + above + near] >= floor || data[at + above + far] >= floor ||
          data[at + below + near] >= floor || data[at + below + far] >= floor) result.push(index);
    }
    return result;
  }

  /** Write a class where its lead over the first contender is the largest so far. */
  raise(mask, width, rows, columns, index, first) {
    const {data, h, w} = this.planes;
    const one = index * h * w, other = first * h * w;
    for (let corner = 0; corner < 4; corner++) {
      const at = rows.logits[corner >> 1] * w + columns.logits[corner & 1];
      this.corners[corner] = data[one + at] - data[other + at];
    }
    const [topLeft, topRight, bottomLeft, bottomRight] = this.corners;
    const toRight = f(topRight - topLeft), belowToRight = f(bottomRight - bottomLeft);
    const across = columns.end - columns.start;
    for (let x = columns.start; x < columns.end; x++) {
      const weight = columns.weights[x];
      const top = f(topLeft + f(toRight * weight));
      const bottom = f(bottomLeft + f(belowToRight * weight));
      const fall = f(bottom - top);
      for (let y = rows.start; y < rows.end; y++) {
        const lead = f(f(fall * rows.weights[y]) + top);
        const slot = (y - rows.start) * across + x - columns.start;
        if (lead > this.best[slot]) {
          this.best[slot] = lead;
          mask[y * width + x] = index;
        }
      }
    }
  }
}
