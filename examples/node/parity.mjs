// npm install && node parity.mjs FOLDER: run what `onelook export MODEL -o FOLDER` wrote
// (or --to int8), and compare its vectors and the scores of its head with the parity file.
import { access, readFile } from "node:fs/promises";
import { join } from "node:path";
import * as ort from "onnxruntime-web";

const folder = process.argv[2];
const read = (name) => readFile(join(folder, name));
const exists = (name) => access(join(folder, name)).then(() => true, () => false);
const json = async (name) => JSON.parse(await read(name));
const length = (values) => Math.hypot(...values);

async function open(name) {
  const path = "model.safetensors"; // int8 has its weights inside
  const data = (await exists(path)) && [{ path, data: await read(path) }];
  return ort.InferenceSession.create(await read(name), data ? { externalData: data } : {});
}

// What a network takes of pixels (C, H, W): (pixel / 255 - mean) / std, a mean for each C.
function inputOf(pixels, { channels, height, width, mean, std }) {
  const of = (values, i) => values[values.length === 1 ? 0 : Math.floor(i / (height * width))];
  return Float32Array.from(pixels, (value, i) => (value / 255 - of(mean, i)) / of(std, i));
}

// The embedding of one picture, as an array of D numbers.
async function embed(session, pixels, settings) {
  const { channels, height, width } = settings;
  const shape = [1, channels, height, width];
  const images = new ort.Tensor("float32", inputOf(pixels, settings), shape);
  return Array.from((await session.run({ images })).embeddings.data);
}

ort.env.wasm.numThreads = 1;
const parity = await json("parity.json");
const settings = await json((await exists("export.json")) ? "export.json" : "model.json");
const sides = {
  left: { file: "model.onnx", preprocess: settings.preprocess },
  right: { file: "model-right.onnx", preprocess: settings.right_preprocess },
};
let largest = 0;
for (const [side, { file, preprocess }] of Object.entries(sides)) {
  const items = parity.items.filter((one) => one.side === side);
  if (!items.length) continue;
  const session = await open(file);
  for (const { pixels, vector } of items) {
    const found = await embed(session, Buffer.from(pixels, "base64"), preprocess);
    const apart = length(found.map((value, i) => value - vector[i])) / length(vector);
    largest = Math.max(largest, apart);
  }
}
let head = null;
if (await exists("head.onnx")) {
  const session = await open("head.onnx");
  const most = Math.max(...parity.scores.map(Math.abs));
  const of = (i) => new ort.Tensor("float32", parity.items[i].vector, [1, parity.items[i].vector.length]);
  head = 0;
  for (const [at, [i, j]] of parity.pairs.entries()) {
    const { scores } = await session.run({ left: of(i), right: of(j) });
    head = Math.max(head, Math.abs(scores.data[0] - parity.scores[at]) / most);
  }
}
const { model, target, tolerance } = parity;
console.log(JSON.stringify({ model, target, tolerance, largest_difference: largest, head }));
if (!(Math.max(largest, head ?? 0) <= tolerance)) process.exit(1);
