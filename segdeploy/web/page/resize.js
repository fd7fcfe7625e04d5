// From an image of any size to the numbers that a network takes, as
// segdeploy/imaging/preprocess.py does. Images are {data, height, width}: RGB, 3 bytes a pixel.
// The arithmetic is that of OpenCV's and Pillow's resize.

const WEIGHT_BITS = 11;

/** Return the RGB image in RGBA data of a canvas. */
export function fromCanvas({data, height, width}) {
  const rgb = new Uint8Array(height * width * 3);
  for (let from = 0, to = 0; to < rgb.length; from += 4, to += 3) {
    rgb[to] = data[from];
    rgb[to + 1] = data[from + 1];
    rgb[to + 2] = data[from + 2];
  }
  return {data: rgb, height, width};
}

/** Return the input of a network for an image: (height, width, 3) of the card's size. */
export function toInput(image, spec) {
  const {height, width} = fittedSize(spec, image);
  const sized = RESAMPLE[spec.resample ?? "halving"](image, height, width);
  if (height === spec.height && width === spec.width) return sized.data;
  const input = new Uint8Array(spec.height * spec.width * 3);
  const mean = spec.mean.map((value) => Math.min(255, Math.max(0, roundEven(value * 255))));
  for (let at = 0; at < input.length; at++) input[at] = mean[at % 3];
  for (let row = 0; row < height; row++) {
    const line = sized.data.subarray(row * width * 3, (row + 1) * width * 3);
    input.set(line, row * spec.width * 3);
  }
  return input;
}

/** Return the height and width that an image takes in the network's input, from the top left. */
export function fittedSize(spec, {height, width}) {
  if (spec.fit === "stretch") return {height: spec.height, width: spec.width};
  const scale = Math.min(spec.height / height, spec.width / width);
  const side = (length, most) => Math.max(1, Math.min(most, roundEven(length * scale)));
  return {height: side(height, spec.height), width: side(width, spec.width)};
}

/** Filters by the names that cards give them. */
export const RESAMPLE = {
  halving: resizeByHalves,
  linear: resizeLinear,
  "pillow-bilinear": pillow(1, (x) => Math.max(0, 1 - Math.abs(x))),
  "pillow-bicubic": pillow(2, cubic),
  "pillow-lanczos": pillow(3, (x) => (Math.abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0)),
};

function resizeByHalves(image, height, width) {
  let {height: rows, width: columns} = image;
  while (rows >= 2 * height && columns >= 2 * width && rows % 2 === 0 && columns % 2 === 0) {
    image = halve(image);
    ({height: rows, width: columns} = image);
  }
  const isFar = rows >= 2 * height && columns >= 2 * width;
  return (isFar ? resizeByArea : resizeLinear)(image, height, width);
}

function halve({data, height, width}) {
  const rows = height / 2, columns = width / 2;
  const half = new Uint8Array(rows * columns * 3);
  const line = width * 3;
  for (let row = 0, to = 0; row < rows; row++) {
    for (let column = 0, from = 2 * row * line; column < columns; column++, from += 3) {
      for (let channel = 0; channel < 3; channel++, from++, to++) {
        const below = from + line;
        half[to] = (data[from] + data[from + 3] + data[below] + data[below + 3] + 2) >> 2;
      }
    }
  }
  return {data: half, height: rows, width: columns};
}

function resizeLinear(image, height, width) {
  const {data, height: rows, width: columns} = image;
  if (rows === height && columns === width) return image;
  if (rows === 2 * height && columns === 2 * width) return halve(image);
  const down = linearWeights(rows, height), across = linearWeights(columns, width);
  const last = rows - 1;
  const result = new Uint8Array(height * width * 3);
  // The two rows between which pixels lie, blended across; each is computed once.
  const lines = new Map();
  const blended = (row) => {
    if (!lines.has(row)) {
      for (const old of lines.keys()) if (old < row - 1) lines.delete(old);
      lines.set(row, blendAcross(data, row * columns * 3, across, columns, width));
    }
    return lines.get(row);
  };
  for (let y = 0, to = 0; y < height; y++) {
    // Beyond the outer rows the same row is blended with itself, as OpenCV does: both are cut off.
    const top = blended(Math.max(0, down.at[y])), bottom = blended(Math.min(down.at[y] + 1, last));
    const far = down.weight[y], near = down.rest[y];
    for (let x = 0; x < width * 3; x++, to++) {
      const value = ((near * (top[x] >> 4)) >> 16) + ((far * (bottom[x] >> 4)) >> 16);
      result[to] = (value + 2) >> 2;
    }
  }
  return {data: result, height, width};
}

function blendAcross(data, start, across, columns, width) {
  const line = new Int32Array(width * 3);
  for (let x = 0, to = 0; x < width; x++) {
    const left = start + Math.max(0, across.at[x]) * 3;
    const right = start + Math.min(across.at[x] + 1, columns - 1) * 3;
    for (let channel = 0; channel < 3; channel++, to++) {
      line[to] = data[left + channel] * across.rest[x] + data[right + channel] * across.weight[x];
    }
  }
  return line;
}

/** Return where pixels lie along a side, with weights in fixed point. */
function linearWeights(size, pixels) {
  const at = new Int32Array(pixels), weight = new Int32Array(pixels), rest = new Int32Array(pixels);
  const scale = 1 / (pixels / size), one = 1 << WEIGHT_BITS;
  for (let pixel = 0; pixel < pixels; pixel++) {
    const position = Math.fround((pixel + 0.5) * scale - 0.5);
    const below = Math.floor(position), part = Math.fround(position - below);
    at[pixel] = below;
    weight[pixel] = roundEven(part * one);
    rest[pixel] = roundEven(Math.fround(1 - part) * one);
  }
  return {at, weight, rest};
}

function resizeByArea({data, height: rows, width: columns}, height, width) {
  const down = areaWeights(rows, height), across = areaWeights(columns, width);
  const result = new Uint8Array(height * width * 3);
  const isWhole = rows % height === 0 && columns % width === 0;
  const share = Math.fround(1 / ((rows / height) * (columns / width)));
  const line = new Float32Array(width * 3), sums = new Float32Array(width * 3);
  for (let y = 0; y < height; y++) {
    sums.fill(0);
    for (const {at: row, weight: beta} of down[y]) {
      line.fill(0);
      for (let x = 0; x < width; x++) {
        for (const {at: column, weight: alpha} of across[x]) {
          for (let channel = 0; channel < 3; channel++) {
            const value = data[(row * columns + column) * 3 + channel];
            line[3 * x + channel] += isWhole ? value : Math.fround(value * alpha);
          }
        }
      }
      for (let x = 0; x < line.length; x++) {
        sums[x] += isWhole ? line[x] : Math.fround(beta * line[x]);
      }
    }
    for (let x = 0; x < sums.length; x++) {
      const value = isWhole ? Math.fround(sums[x] * share) : sums[x];
      result[y * width * 3 + x] = Math.min(255, roundEven(value));
    }
  }
  return {data: result, height, width};
}

/** Return which pixels of a side belong to each pixel of the result, and how much of each. */
function areaWeights(size, pixels) {
  const scale = 1 / (pixels / size);
  return Array.from({length: pixels}, (_, pixel) => {
    const start = pixel * scale, end = start + scale, cell = Math.min(scale, size - start);
    let first = Math.ceil(start), last = Math.min(Math.floor(end), size - 1);
    first = Math.min(first, last);
    const parts = [];
    const add = (at, share) => parts.push({at, weight: Math.fround(share / cell)});
    if (first - start > 1e-3) add(first - 1, first - start);
    for (let at = first; at < last; at++) add(at, 1);
    if (end - last > 1e-3) add(last, Math.min(Math.min(end - last, 1), cell));
    return parts;
  });
}

/** Return Pillow's resize by a filter: across, then down, each rounded to bytes. */
function pillow(support, filter) {
  return (image, height, width) => {
    if (image.height === height && image.width === width) return image;
    if (image.width !== width) image = filterSide(image, width, support, filter, true);
    if (image.height !== height) image = filterSide(image, height, support, filter, false);
    return image;
  };
}

function filterSide({data, height, width}, pixels, support, filter, isAcross) {
  const taps = pillowTaps(isAcross ? width : height, pixels, support, filter);
  const [rows, columns] = isAcross ? [height, pixels] : [pixels, width];
  const result = new Uint8ClampedArray(rows * columns * 3);
  const step = isAcross ? 3 : width * 3;
  for (let row = 0, to = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const {first, weights} = taps[isAcross ? column : row];
      const start = isAcross ? (row * width + first) * 3 : (first * width + column) * 3;
      for (let channel = 0; channel < 3; channel++, to++) {
        let sum = 1 << 21;
        for (let tap = 0, at = start + channel; tap < weights.length; tap++, at += step) {
          sum += data[at] * weights[tap];
        }
        result[to] = sum >> 22;
      }
    }
  }
  return {data: new Uint8Array(result.buffer), height: rows, width: columns};
}

function pillowTaps(size, pixels, support, filter) {
  const scale = size / pixels, spread = Math.max(1, scale), reach = support * spread;
  return Array.from({length: pixels}, (_, pixel) => {
    const center = (pixel + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - reach + 0.5));
    const end = Math.min(size, Math.trunc(center + reach + 0.5));
    const inverse = 1 / spread;
    const raw = [];
    for (let at = first; at < end; at++) raw.push(filter((at - center + 0.5) * inverse));
    const total = raw.reduce((sum, value) => sum + value, 0);
    // Fixed point of 22 bits, rounded away from zero.
    const weights = raw.map((value) => {
      const scaled = (total === 0 ? value : value / total) * (1 << 22);
      return Math.trunc(scaled + (scaled < 0 ? -0.5 : 0.5));
    });
    return {first, weights};
  });
}

function cubic(x) {
  const a = -0.5, distance = Math.abs(x);
  if (distance < 1) return ((a + 2) * distance - (a + 3)) * distance * distance + 1;
  return distance < 2 ? (((distance - 5) * distance + 8) * distance - 4) * a : 0;
}

function sinc(x) {
  return x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI);
}

/** Return the nearest integer; of two, the even one, as OpenCV and Python do. */
function roundEven(value) {
  const below = Math.floor(value), part = value - below;
  return part === 0.5 ? below + (below % 2) : Math.round(value);
}
