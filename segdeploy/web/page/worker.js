// The page's worker: loads the network, and answers each frame with its mask.

import {BUILDS, Network} from "./network.js";
import {fromCanvas} from "./resize.js";

const MOST_THREADS = 8;

let network = null;
const canvas = new OffscreenCanvas(1, 1);
const context = canvas.getContext("2d", {willReadFrequently: true});

onmessage = async ({data}) => {
  try {
    if (data.type === "open") postMessage({type: "ready", id: data.id, ...await open(data)});
    else await segment(data);
  } catch (error) {
    data.bitmap?.close();
    postMessage({type: "failed", id: data.id, message: String(error?.message ?? error)});
  }
};

/** Load the network on the best device that reproduces the stored output. */
async function open({description, options}) {
  const {card, expected} = description;
  const model = await fetchBytes(new URL("model.onnx", options.base));
  const notes = [];
  if (description.webgpu && options.device !== "wasm") {
    const reason = await refusalOfWebGpu(model, description, options);
    if (reason === "") return {device: "WebGPU", threads: 0, notes};
    notes.push(`WebGPU is not used: ${reason}`);
  }
  const threads = chooseThreads(options.threads);
  if (threads === 1 && !crossOriginIsolated) {
    notes.push("one thread: this server does not isolate the page, which threads need");
  }
  network = await Network.load(await runtime("wasm", threads, options), model, card, "wasm");
  const test = await network.selfTest(expected);
  if (!test.passed) {
    throw new Error(
      "the network does not return the output that its export stored:" +
      ` ${(100 * test.agreement).toFixed(2)}% of the labels are equal; export it again`);
  }
  return {device: "WASM", threads, notes};
}

/** Load the network on WebGPU, and return why it is not used; "" where it is. */
async function refusalOfWebGpu(model, {card, expected}, options) {
  try {
    if (!navigator.gpu) return "this browser has none";
    const adapter = await navigator.gpu.requestAdapter();
    if (!adapter) return "this device has no adapter for it";
    const {isFallbackAdapter, architecture} = adapter.info ?? {};
    const isSoftware = isFallbackAdapter || architecture === "swiftshader";
    if (isSoftware && options.device !== "webgpu") return "its adapter here is software";
    const ort = await runtime("webgpu", 1, options);
    network = await Network.load(ort, model, card, "webgpu");
    const test = await network.selfTest(expected);
    if (test.passed) return "";
    await network.release();
    return `only ${(100 * test.agreement).toFixed(2)}% of the self-test's labels are right here`;
  } catch (error) {
    return String(error?.message ?? error).slice(0, 200);
  }
}

async function runtime(device, threads, {base}) {
  const {module, mjs, wasm} = BUILDS[device];
  const at = (name) => new URL(`runtime/${name}`, base).href;
  const ort = await import(at(module));
  ort.env.wasm.wasmPaths = {mjs: at(mjs), wasm: at(wasm)};
  ort.env.wasm.numThreads = threads;
  return ort;
}

/** Return how many threads to use: half of the logical cores, but both of two. */
function chooseThreads(wanted) {
  if (!crossOriginIsolated) return 1;
  if (wanted) return wanted;
  const cores = navigator.hardwareConcurrency ?? 1;
  return Math.max(Math.min(2, cores), Math.min(MOST_THREADS, Math.ceil(cores / 2)));
}

async function fetchBytes(address) {
  const response = await fetch(address);
  if (!response.ok) throw new Error(`${address.pathname} answers ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

/** Answer a frame with its mask, and give the frame back. */
async function segment({id, bitmap}) {
  const start = performance.now();
  const {height, width} = bitmap;
  if (canvas.height !== height || canvas.width !== width) {
    canvas.height = height;
    canvas.width = width;
  }
  context.drawImage(bitmap, 0, 0);
  const image = fromCanvas(context.getImageData(0, 0, width, height));
  const decoded = performance.now();
  const {mask, times} = await network.segment(image);
  postMessage(
    {type: "mask", id, bitmap, mask, height, width, times: {read: decoded - start, ...times}},
    [bitmap, mask.buffer]);
}
