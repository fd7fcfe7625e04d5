// Runs an exported page's own code in Node, without a browser: node page_proof.js FOLDER SCRATCH.
// SCRATCH holds images.json, a list of {height, width}, and IMAGE.rgb for each; IMAGE.mask is
// written.
// Prints what was found as JSON.

import {readFileSync, writeFileSync} from "node:fs";
import {join} from "node:path";
import {pathToFileURL} from "node:url";

const [folder, scratch] = process.argv.slice(2);
const load = (name) => import(pathToFileURL(join(folder, name)).href);

const {BUILDS, Network} = await load("network.js");
const ort = await load(join("runtime", BUILDS.wasm.module));
const at = (name) => join(folder, "runtime", name);
ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmBinary = readFileSync(at(BUILDS.wasm.wasm));
ort.env.wasm.wasmPaths = {mjs: pathToFileURL(at(BUILDS.wasm.mjs)).href};
ort.env.logLevel = "error";

const {card, expected} = JSON.parse(readFileSync(join(folder, "model.json"), "utf8"));
const model = new Uint8Array(readFileSync(join(folder, "model.onnx")));
const network = await Network.load(ort, model, card, "wasm");
const selfTest = await network.selfTest(expected);
const images = JSON.parse(readFileSync(join(scratch, "images.json"), "utf8"));
for (const [index, {height, width}] of images.entries()) {
  const data = new Uint8Array(readFileSync(join(scratch, `${index}.rgb`)));
  const {mask} = await network.segment({data, height, width});
  writeFileSync(join(scratch, `${index}.mask`), mask);
}
console.log(JSON.stringify({selfTest, node: process.version, runtime: ort.env.versions.web}));
process.exit(0);
