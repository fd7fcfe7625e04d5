// Segment an image in Node: node onnxruntime_node.mjs MODEL.onnx IMAGE OUT.png
// npm install onnxruntime-node sharp; the card is MODEL.onnx.json (segdeploy export --card-file).
import {readFileSync} from "node:fs";
import ort from "onnxruntime-node";
import sharp from "sharp";

const [model, imageFile, out] = process.argv.slice(2);
const card = JSON.parse(readFileSync(`${model}.json`, "utf8"));
const {height, width} = card.input;
const session = await ort.InferenceSession.create(model);

// The image at its own size for the overlay, and at the network's size.
const {data: image, info} = await sharp(imageFile).removeAlpha().toColourspace("srgb").raw()
  .toBuffer({resolveWithObject: true});
const small = await sharp(image, {raw: {width: info.width, height: info.height, channels: 3}})
  .resize(width, height, {fit: "fill", kernel: "linear"}).raw().toBuffer();

const input = new ort.Tensor("uint8", new Uint8Array(small), [1, height, width, 3]);
const {logits: {data, dims: [, classes, rows, columns]}} = await session.run({image: input});

// Every pixel: the class whose bilinearly upsampled logit is the largest.
const place = (pixel, pixels, size) => {
  const at = Math.min(Math.max((pixel + 0.5) * size / pixels - 0.5, 0), size - 1);
  const near = Math.floor(at);
  return [near, Math.min(near + 1, size - 1), at - near];
};
const mask = new Uint8Array(info.height * info.width);
for (let y = 0; y < info.height; y++) {
  const [top, bottom, down] = place(y, info.height, rows);
  for (let x = 0; x < info.width; x++) {
    const [left, right, across] = place(x, info.width, columns);
    let best = -Infinity;
    for (let index = 0; index < classes; index++) {
      const at = (row, column) => data[(index * rows + row) * columns + column];
      const above = at(top, left) + (at(top, right) - at(top, left)) * across;
      const below = at(bottom, left) + (at(bottom, right) - at(bottom, left)) * across;
      const value = above + (below - above) * down;
      if (value > best) {
        best = value;
        mask[y * info.width + x] = index;
      }
    }
  }
}

const overlay = Buffer.from(image);
for (let at = 0; at < overlay.length; at++) {
  const color = card.classes[mask[Math.floor(at / 3)]].color[at % 3];
  overlay[at] = Math.round((overlay[at] + color) / 2);
}
const size = {width: info.width, height: info.height};
await sharp(overlay, {raw: {...size, channels: 3}}).png().toFile(out);
await sharp(mask, {raw: {...size, channels: 1}}).toColourspace("b-w").png().toFile(`${out}.mask.png`);
