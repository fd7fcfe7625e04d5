// The self-test of a file, as segdeploy/inference/self_test.py: a built-in image, and the output
// that the export stored for it.

import {bestClass} from "./upsample.js";

const POINTS = 16, LABELS = 96;

/** Return the built-in image, (height, width, 3) RGB: gradients, edges, discs and grain. */
export function builtInImage(height, width) {
  const image = new Uint8Array(height * width * 3);
  const cell = Math.max(4, Math.floor(Math.min(height, width) / 8));
  const floor = (value, by) => Math.floor(value / by);
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const colors = [
        floor(x * 255, Math.max(1, width - 1)),
        floor(y * 255, Math.max(1, height - 1)),
        (floor(x, cell) + floor(y, cell)) % 2 * 160 + floor(x + y, cell) % 3 * 40,
      ];
      const across = x % (4 * cell) - 2 * cell, down = y % (4 * cell) - 2 * cell;
      const isDisc = across * across + down * down < cell * cell;
      const grain = floor((x * 7919) ^ (y * 104729), 64) % 32 - 16;
      for (const color of colors) {
        image[to++] = Math.min(255, Math.max(0, (isDisc ? 255 - color : color) + grain));
      }
    }
  }
  return image;
}

/**
 * Compare the output for the built-in image with the stored one.
 *
 * Returns {passed, agreement, difference}: the share of equal labels; and the largest difference of
 * a number as a share of the largest one, null where the file returns classes.
 */
export async function compare({data, dims}, expected) {
  const shape = dims.slice(1);
  if (JSON.stringify(shape) !== JSON.stringify([...expected.shape])) {
    return {passed: false, agreement: 0, difference: null};
  }
  const isClasses = shape.length === 2;
  const [h, w] = shape.slice(-2);
  const all = isClasses ? data : bestClass(data, shape[0], h * w);
  const labels = atGrid(all, 1, h, w, LABELS);
  const stored = await inflate(decode(expected.labels));
  let equal = 0;
  for (let at = 0; at < labels.length; at++) equal += labels[at] === stored[at];
  const agreement = equal / labels.length;
  const difference = isClasses ? null : largestDifference(
    atGrid(data, shape[0], h, w, POINTS), new Float32Array(decode(expected.logits).buffer));
  // A comparison with NaN is false, so NaN counts as different.
  const isNear = isClasses || difference <= expected.tolerance;
  const passed = stored.length === labels.length && agreement >= expected.agreement && isNear;
  return {passed, agreement, difference};
}

function largestDifference(values, stored) {
  if (values.length !== stored.length) return NaN;
  let largest = Number.MIN_VALUE, difference = 0;
  for (let at = 0; at < values.length; at++) {
    largest = Math.max(largest, Math.abs(stored[at]));
    difference = Math.max(difference, Math.abs(values[at] - stored[at]));
  }
  return difference / largest;
}

/** Return planes at evenly spaced rows and columns, at most `points` of each. */
function atGrid(data, planes, h, w, points) {
  const rows = evenlySpaced(h, points), columns = evenlySpaced(w, points);
  const result = new data.constructor(planes * rows.length * columns.length);
  let to = 0;
  for (let plane = 0; plane < planes; plane++) {
    for (const y of rows) {
      for (const x of columns) result[to++] = data[(plane * h + y) * w + x];
    }
  }
  return result;
}

function evenlySpaced(size, points) {
  const count = Math.min(size, points);
  return Array.from({length: count}, (_, at) => Math.floor((2 * at + 1) * size / (2 * count)));
}

function decode(base64) {
  return Uint8Array.from(atob(base64), (sign) => sign.charCodeAt(0));
}

async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
