// node answer.mjs FOLDER PICTURES: what an exported page answers, as JSON.
import { readFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";

const [folder, pictures] = process.argv.slice(2);
const load = (name) => import(pathToFileURL(`${folder}/${name}`));
const [ort, { Model }] = await Promise.all([load("ort.wasm.min.mjs"), load("model.js")]);
ort.env.wasm.numThreads = 1;
const model = await Model.load(ort, async (name) => new Uint8Array(await readFile(`${folder}/${name}`)));
const looks = [];
const items = [];
for (const { width, height, data } of JSON.parse(await readFile(pictures, "utf8"))) {
  items.push({ width, height, data: Uint8ClampedArray.from(Buffer.from(data, "base64")) });
  const { pixels, embedding, unlike } = await model.look(items.at(-1));
  looks.push({ pixels: Array.from(pixels), embedding, unlike });
}
const pairs = [];
for (let i = 1; i < items.length; i++) pairs.push(await model.compare(items[i - 1], items[i]));
process.stdout.write(JSON.stringify({ looks, pairs }));
