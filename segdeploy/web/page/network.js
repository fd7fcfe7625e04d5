// A network in ONNX Runtime: an image in, the mask of its pixels out. Used by the page's worker,
// and by Node when an export is proven.

import {toInput} from "./resize.js";
import {builtInImage, compare} from "./self_test.js";
import {toMask} from "./upsample.js";

/** The runtime's builds, by device: its module, and what that loads. */
export const BUILDS = {
  wasm: {module: "ort.js", mjs: "ort-wasm.js", wasm: "ort-wasm.wasm"},
  webgpu: {module: "ort-webgpu.js", mjs: "ort-gpu.js", wasm: "ort-gpu.wasm"},
};

export class Network {
  /**
   * Return a loaded network.
   *
   * ort: The runtime's module, its environment set.
   * model: The ONNX file, a Uint8Array.
   * card: Its card.
   * device: "wasm" or "webgpu".
   */
  static async load(ort, model, card, device) {
    const session = await ort.InferenceSession.create(model, {executionProviders: [device]});
    return new Network(ort, session, card);
  }

  constructor(ort, session, card) {
    this.ort = ort;
    this.session = session;
    this.card = card;
  }

  /** Free the memory of the network. */
  async release() {
    await this.session.release();
  }

  /** Run the built-in image and compare with the stored output; see `compare`. */
  async selfTest(expected) {
    const {height, width} = this.card.input;
    return compare(await this.run(builtInImage(height, width)), expected);
  }

  /** Return the output, {data, dims}, for (height, width, 3) RGB of the network's size. */
  async run(input) {
    const {height, width} = this.card.input;
    const [name] = this.session.inputNames;
    const tensor = new this.ort.Tensor("uint8", input, [1, height, width, 3]);
    const outputs = await this.session.run({[name]: tensor}, [this.card.output]);
    return outputs[this.card.output];
  }

  /** Return the mask of an RGB image of any size, and the milliseconds of each stage. */
  async segment(image) {
    const start = performance.now();
    const input = toInput(image, this.card.input);
    const resized = performance.now();
    const output = await this.run(input);
    const ran = performance.now();
    const mask = toMask(output, this.card.input, image);
    const end = performance.now();
    return {mask, times: {resize: resized - start, network: ran - resized, mask: end - ran}};
  }
}
