// Two pictures in, a verdict out; nothing leaves this page.

import * as ort from "./ort.wasm.min.mjs";
import { Model } from "./model.js";

ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = new URL("./", import.meta.url).href;

const status = document.getElementById("status");
const inputs = ["left", "right"].map((side) => document.getElementById(side));
const read = async (name) => new Uint8Array(await (await fetch(name)).arrayBuffer());
const loading = Model.load(ort, read);
let turn = 0; // only the last choice is answered

for (const input of inputs) input.addEventListener("change", () => show(input));
loading.then(
  () => (status.textContent = "Choose two pictures."),
  (error) => (status.textContent = `The model cannot be loaded: ${error.message}`),
);

async function show(input) {
  const picture = document.getElementById(`${input.id}-picture`);
  URL.revokeObjectURL(picture.src);
  picture.src = input.files[0] ? URL.createObjectURL(input.files[0]) : "";
  const files = inputs.map((one) => one.files[0]);
  const mine = ++turn;
  if (!files.every(Boolean)) return;
  status.textContent = "Comparing…";
  const words = await answer(files).catch((error) => error.message);
  if (mine === turn) status.textContent = words;
}

async function answer(files) {
  const model = await loading;
  const [left, right] = await Promise.all(files.map(decoded));
  const { score, probability, verdict, reason } = await model.compare(left, right);
  const figures = `score ${score.toFixed(4)}`;
  if (probability === null) return `${figures}; the model has no threshold`;
  return `${verdict}: ${reason || `probability ${probability.toFixed(3)}`} (${figures})`;
}

async function decoded(file) {
  const bitmap = await createImageBitmap(file);
  const { width, height } = bitmap;
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d");
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, width, height);
}
